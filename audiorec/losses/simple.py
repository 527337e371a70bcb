"""The simple transducer loss, whose joiner is a sum (Kuang et al. 2022), plain and smoothed. It is cheap enough for the whole
lattice; its occupancies choose the band of the pruned loss."""

import torch
import torch.nn.functional as F
from torch import Tensor

from audiorec.losses.transducer import arcs, check_symbols, lattice_loss


def get_rnnt_logprobs(
    lm: Tensor,
    am: Tensor,
    symbols: Tensor,
    termination_symbol: int,
    rnnt_type: str = "regular",
    boundary: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """px and py (as in ``get_rnnt_logprobs_joint``) of the logits am (B, T, V) + lm (B, S+1, V), never built."""
    lm_px, lm_py, am_px, am_py = _chosen(lm, am, symbols, termination_symbol)
    total, _, _ = _log_totals(lm, am)
    return arcs(lm_px + am_px - total[:, :-1], lm_py + am_py - total, boundary, rnnt_type)


def get_rnnt_logprobs_smoothed(
    lm: Tensor,
    am: Tensor,
    symbols: Tensor,
    termination_symbol: int,
    lm_only_scale: float = 0.1,
    am_only_scale: float = 0.1,
    boundary: Tensor | None = None,
    rnnt_type: str = "regular",
) -> tuple[Tensor, Tensor]:
    """px and py as a weighted sum of log-probabilities: of am + lm, of lm alone, and of am with the batch's mean distribution
    of lm in the place of lm. So am and lm each learn to predict by themselves."""
    lm_px, lm_py, am_px, am_py = _chosen(lm, am, symbols, termination_symbol)
    total, lm_probs, am_probs = _log_totals(lm, am)
    lm_total = lm.logsumexp(-1, keepdim=True)
    mean = (lm_probs / lm_probs.sum(-1, keepdim=True)).mean((0, 1)) + torch.finfo(lm.dtype).tiny  # (V,)
    log_mean = mean.log()
    am_total = (_log(am_probs @ mean) + am.detach().amax(-1))[:, None]

    both = 1 - lm_only_scale - am_only_scale
    px = both * (lm_px + am_px - total[:, :-1])
    px = px + lm_only_scale * (lm_px - lm_total[:, :-1]) + am_only_scale * (am_px + log_mean[symbols, None] - am_total)
    py = both * (lm_py + am_py - total)
    py = py + lm_only_scale * (lm_py - lm_total) + am_only_scale * (am_py + log_mean[termination_symbol] - am_total)
    return arcs(px, py, boundary, rnnt_type)


def rnnt_loss_simple(
    lm: Tensor,
    am: Tensor,
    symbols: Tensor,
    termination_symbol: int,
    boundary: Tensor | None = None,
    rnnt_type: str = "regular",
    delay_penalty: float = 0.0,
    reduction: str = "mean",
    return_grad: bool = False,
) -> Tensor | tuple[Tensor, tuple[Tensor, Tensor]]:
    """``rnnt_loss`` of the logits am (B, T, V) + lm (B, S+1, V); with ``return_grad`` also the occupancies of px and py,
    which ``get_rnnt_prune_ranges`` takes."""
    px, py = get_rnnt_logprobs(lm, am, symbols, termination_symbol, rnnt_type, boundary)
    result = lattice_loss(px, py, boundary, delay_penalty, reduction)
    return result if return_grad else result[0]


def rnnt_loss_smoothed(
    lm: Tensor,
    am: Tensor,
    symbols: Tensor,
    termination_symbol: int,
    lm_only_scale: float = 0.1,
    am_only_scale: float = 0.1,
    boundary: Tensor | None = None,
    rnnt_type: str = "regular",
    delay_penalty: float = 0.0,
    reduction: str = "mean",
    return_grad: bool = False,
) -> Tensor | tuple[Tensor, tuple[Tensor, Tensor]]:
    """``rnnt_loss_simple`` with the log-probabilities of ``get_rnnt_logprobs_smoothed``."""
    px, py = get_rnnt_logprobs_smoothed(
        lm, am, symbols, termination_symbol, lm_only_scale, am_only_scale, boundary, rnnt_type
    )
    result = lattice_loss(px, py, boundary, delay_penalty, reduction)
    return result if return_grad else result[0]


def _chosen(lm: Tensor, am: Tensor, symbols: Tensor, termination_symbol: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """lm at the next symbol (B, S, 1) and at the blank (B, S+1, 1), then am: (B, S, T) and (B, 1, T)."""
    if am.ndim != 3 or lm.ndim != 3 or len(am) != len(lm) or am.shape[2] != lm.shape[2]:
        raise ValueError(f"am must be (B, T, V) and lm (B, S+1, V), got {tuple(am.shape)} and {tuple(lm.shape)}")
    check_symbols(symbols, termination_symbol, am.shape[2])
    if symbols.shape != (len(lm), lm.shape[1] - 1):
        raise ValueError(f"symbols must be (B, S) for lm (B, S+1, V), got {tuple(symbols.shape)} and {tuple(lm.shape)}")
    index = F.pad(symbols, (0, 1), value=termination_symbol)
    row, frame = torch.arange(len(am), device=am.device), torch.arange(am.shape[1], device=am.device)
    of_am = am[row[:, None, None], frame, index[..., None]]  # gather would keep am for its backward
    of_lm = lm[:, :-1].gather(2, symbols[..., None])
    return of_lm, lm[..., termination_symbol, None], of_am[:, :-1], of_am[:, -1:]


def _log_totals(lm: Tensor, am: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log Σ_v exp(am + lm) (B, S+1, T), as a product of matrices; exp(lm) and exp(am), each scaled to at most 1."""
    lm_max, am_max = lm.detach().amax(-1, keepdim=True), am.detach().amax(-1, keepdim=True)
    lm_probs, am_probs = (lm - lm_max).exp(), (am - am_max).exp()
    return _log(lm_probs @ am_probs.transpose(1, 2)) + lm_max + am_max.transpose(1, 2), lm_probs, am_probs


def _log(x: Tensor) -> Tensor:
    return (x + torch.finfo(x.dtype).tiny).log()
