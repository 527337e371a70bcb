"""Sums and means of the rows' losses: a row without a path (loss +inf) is left out and counted, a NaN stays a NaN."""

from typing import NamedTuple

import torch
from torch import Tensor


class LossSum(NamedTuple):
    """Sums over rows, each (…): of the losses and the tokens of the rows with a path, and the number of rows without."""

    loss: Tensor
    tokens: Tensor
    dropped: Tensor


def sum_losses(losses: Tensor, token_lengths: Tensor) -> LossSum:
    """Sum losses (…, B) and token_lengths, (…, B) or (B,), over the rows. An empty transcript counts as one token."""
    has_path = losses != torch.inf
    return LossSum(
        torch.where(has_path, losses, torch.zeros_like(losses)).sum(-1),
        torch.where(has_path, token_lengths.clamp(min=1), 0).sum(-1),
        (~has_path).sum(-1),
    )


def mean_per_token(losses: Tensor, token_lengths: Tensor) -> tuple[Tensor, Tensor]:
    """The loss per token (…) and the number of rows left out (…), from losses (…, B) and token_lengths, (…, B) or (B,).

    0 where no row has a path.
    """
    loss, tokens, dropped = sum_losses(losses, token_lengths)
    return loss / tokens.clamp(min=1), dropped
