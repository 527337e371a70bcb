"""Training losses: one value a row, +inf where a row has no valid path, and the mean that leaves such rows out."""

from audiorec.losses.ctc import ctc_loss
from audiorec.losses.reduce import mean_per_token

__all__ = ["ctc_loss", "mean_per_token"]
