"""Training by Lightning: needs ``pip install audiorec-speech[train]``."""
