"""The mean of a recipe's losses."""

import torch
from torch import Tensor


def mean_per_token(losses: Tensor, token_lengths: Tensor) -> tuple[Tensor, Tensor]:
    """(sum of the finite losses / their tokens, number of rows left out): losses (B,), token_lengths (B,).

    Rows of loss +inf (no valid path) are counted and left out, so that none turns a batch into NaN.
    """
    finite = torch.isfinite(losses)
    tokens = torch.where(finite, token_lengths, 0).sum().clamp(min=1)
    total = torch.where(finite, losses, torch.zeros_like(losses)).sum()
    return total / tokens, (~finite).sum()
