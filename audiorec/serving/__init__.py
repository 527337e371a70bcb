"""Live use: the microphone."""
