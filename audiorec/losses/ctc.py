"""Connectionist temporal classification (Graves et al. 2006), blank 0."""

import torch
import torch.nn.functional as F
from torch import Tensor


def ctc_loss(log_probs: Tensor, lengths: Tensor, tokens: Tensor, token_lengths: Tensor) -> Tensor:
    """Negative log-likelihood of each row (B,): log_probs (B, T, V) float32 or float64,
    lengths (B,), tokens (B, S), token_lengths (B,).

    A row with no path (fewer frames than its tokens and the blanks between repeats need) has loss +inf and no gradient.
    """
    repeats = (tokens[:, 1:] == tokens[:, :-1]) & (
        torch.arange(1, tokens.shape[1], device=tokens.device) < token_lengths[:, None]
    )
    feasible = lengths >= token_lengths + repeats.sum(1)
    losses = F.ctc_loss(
        log_probs.transpose(0, 1),
        tokens,
        torch.where(feasible, lengths, 0),
        torch.where(feasible, token_lengths, 0),
        blank=0,
        reduction="none",
    )
    return torch.where(feasible, losses, torch.inf)
