"""Fused recurrences on plain tensors. Knows nothing of speech, configuration or audiorec."""
