"""Training by Lightning: needs ``pip install audiorec[train]``."""
