"""The token-and-duration transducer's loss (Xu et al. 2023): each token says how many frames it lasts."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from audiorec_kernels.lattice import arc_lattice
from torch import Tensor, nn

from audiorec.losses.joined import Joiner, at_frames, cells_of, joined_hidden, joined_log_probs
from audiorec.losses.pruning import band_symbols, whole_ranges
from audiorec.losses.transducer import arcs, get_rnnt_logprobs_joint, lattice_loss, reduced
from audiorec.text import BLANK

DURATIONS = (0, 1, 2, 3, 4)


def tdt_loss(
    token_logits: Tensor,
    duration_logits: Tensor,
    symbols: Tensor,
    termination_symbol: int = 0,
    boundary: Tensor | None = None,
    durations: Sequence[int] = DURATIONS,
    sigma: float = 0.0,
    omega: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """−log P(symbols) over all alignments and durations: token_logits (B, T, S+1, V), duration_logits (B, T, S+1, D) of the D
    ``durations`` in frames, symbols (B, S), boundary (B, 4): (0, 0, S_b, T_b).

    A token moves on by its duration, a blank by at least one frame; a path ends where the last frame does. ``sigma`` is
    subtracted from the log-probability of every token and blank, which favours long steps. ``omega`` is the share of a plain
    transducer loss over the token logits alone: of type regular where a token may last 0 frames, else modified. (The paper
    draws one of the two losses for each batch; this is their mean.) A row without a path has loss +inf and no gradient. With
    durations [1] and sigma 0 it is ``rnnt_loss`` of type modified.
    """
    check_durations(durations, duration_logits.shape[-1])
    if duration_logits.shape[:-1] != token_logits.shape[:-1]:
        raise ValueError(
            f"token_logits must be (B, T, S+1, V) and duration_logits (B, T, S+1, D), "
            f"got {tuple(token_logits.shape)} and {tuple(duration_logits.shape)}"
        )
    px, py = get_rnnt_logprobs_joint(token_logits, symbols, termination_symbol, boundary, "modified")
    lasting = duration_logits.log_softmax(-1, dtype=px.dtype).permute(3, 0, 2, 1)
    return tdt_arcs_loss(px, py, lasting, boundary, durations, sigma, omega, reduction)


class TdtLoss(nn.Module):
    """``tdt_loss`` as a recipe uses it: the joiner's output is V token logits, then one for each duration."""

    def __init__(
        self,
        *,
        durations: Sequence[int] = DURATIONS,
        sigma: float = 0.05,
        omega: float = 0.1,
        recompute: bool = False,
    ):
        super().__init__()
        self.durations = tuple(durations)
        self.sigma = sigma
        self.omega = omega
        self.recompute = recompute

    def forward(
        self,
        encoder: Tensor,
        predictor: Tensor,
        joiner: Joiner,
        symbols: Tensor,
        lengths: Tensor,
        symbol_lengths: Tensor,
    ) -> Tensor:
        """(B,): encoder (B, T, C) with lengths (B,), predictor (B, S+1, P), symbols (B, S) int64 with symbol_lengths (B,)."""
        weight, bias = joiner.output.weight, joiner.output.bias
        tokens = len(weight) - len(self.durations)
        symbols, boundary, frames = cells_of(encoder, predictor, symbols, lengths, symbol_lengths, tokens)
        ranges = whole_ranges(encoder.shape[1], symbols)
        hidden = joined_hidden(encoder, predictor, joiner, ranges, frames)
        token_bias, duration_bias = (None, None) if bias is None else (bias[:tokens], bias[tokens:])
        index = band_symbols(symbols, ranges, BLANK)
        chosen = joined_log_probs(hidden, weight[:tokens], token_bias, index, frames, self.recompute)
        px, py = chosen.transpose(1, 2).unbind(-1)
        lasting = F.linear(hidden, weight[tokens:], duration_bias).log_softmax(-1, dtype=px.dtype)
        lasting = at_frames(lasting, frames, encoder.shape[:2])
        return tdt_arcs_loss(
            px[:, :-1], py, lasting.permute(3, 0, 2, 1), boundary, self.durations, self.sigma, self.omega, "none"
        )


def tdt_arcs_loss(
    px: Tensor,
    py: Tensor,
    lasting: Tensor,
    boundary: Tensor | None,
    durations: Sequence[int],
    sigma: float,
    omega: float,
    reduction: str,
) -> Tensor:
    """``tdt_loss`` from log-probabilities of symbols px (B, S, T), of a blank py (B, S+1, T), of durations (D, B, S+1, T)."""
    if not 0 <= omega < 1:
        raise ValueError(f"omega must be at least 0 and less than 1, got {omega}")
    pairs = list(zip(durations, lasting.unbind(0), strict=True))
    # No token leaves column T, the column after the last frame, not even one of duration 0: `arcs` sees to it.
    tokens = [arcs(px + log_p[:, :-1] - sigma, py, boundary, "regular")[0] for _, log_p in pairs]
    tokens = [(F.pad(x, (0, 0, 0, 1), value=-torch.inf), (1, d)) for x, d in zip(tokens, durations, strict=True)]
    blanks = [(F.pad(py + log_p - sigma, (0, 1), value=-torch.inf), (0, d)) for d, log_p in pairs if d]
    all_arcs, moves = zip(*tokens, *blanks, strict=True)
    loss = reduced(-arc_lattice(torch.stack(all_arcs), moves, boundary), reduction)
    if not omega:
        return loss
    plain = arcs(px, py, boundary, "regular" if 0 in durations else "modified")
    plain_loss, _ = lattice_loss(*plain, boundary, 0.0, reduction)
    return (1 - omega) * loss + omega * plain_loss


def check_durations(durations: Sequence[int], logits: int) -> None:
    """Raises ValueError where durations are not as many as the joiner's duration ``logits``, or not distinct frame counts."""
    if len(durations) != logits:
        raise ValueError(
            f"durations are {len(durations)}: {list(durations)}, but the joiner gives {logits} duration logits"
        )
    if len(set(durations)) != logits or min(durations) < 0 or max(durations) < 1:
        raise ValueError(f"durations must be distinct frame counts ≥ 0, one of them ≥ 1, got {list(durations)}")
