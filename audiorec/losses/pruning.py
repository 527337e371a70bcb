"""The band of a transducer's lattice where the joiner is computed (Kuang et al. 2022): ``s_range`` positions at each frame."""

import torch
import torch.nn.functional as F
from torch import Tensor

from audiorec.losses.log_probs import chosen_log_probs
from audiorec.losses.transducer import arcs, check_range, check_symbols, lattice_loss


def get_rnnt_prune_ranges(px_grad: Tensor, py_grad: Tensor, boundary: Tensor, s_range: int) -> Tensor:
    """(B, T, s_range) int64: for each frame the symbol positions s to keep, chosen by the simple loss's occupancies px_grad
    (B, S, T+1) or (B, S, T) and py_grad (B, S+1, T).

    At each frame the window of s_range positions with the largest occupancy is chosen: that of the blanks within it, less
    that of the symbols that enter it from below. The windows are then made monotone, from position 0 to the row's last
    symbol, with steps of at most s_range − 1 a frame (1 for modified and constrained, whose paths emit at most one symbol a
    frame). Where s_range > S + 1, all S + 1 positions are kept.
    """
    rows, frames = py_grad.shape[1:]
    if s_range < 2 and rows > 1:
        raise ValueError(f"s_range must be at least 2, so that the window can move, got {s_range}")
    if (
        px_grad.shape[1] != rows - 1
        or px_grad.shape[2] not in (frames, frames + 1)
        or boundary.shape != (len(px_grad), 4)
    ):
        raise ValueError(
            f"px_grad must be (B, S, T+1) or (B, S, T), py_grad (B, S+1, T) and boundary (B, 4), "
            f"got {tuple(px_grad.shape)}, {tuple(py_grad.shape)} and {tuple(boundary.shape)}"
        )
    width = min(s_range, rows)
    windows = rows - width + 1
    blanks = py_grad.unfold(1, width, 1).transpose(2, 3).sum(2)
    entering = torch.cat([torch.zeros_like(py_grad[:, :1]), px_grad[:, : windows - 1, :frames]], 1)
    begin = (blanks - entering).argmax(1)

    frame = torch.arange(frames, device=begin.device)
    last_frame, last_window = boundary[:, 3:] - 1, (boundary[:, 2:3] - width + 1).clamp(min=0)
    begin = torch.where(frame < last_frame, begin, last_window)
    begin = _monotone(begin)
    # Limit each step to `step`: subtract the steepest allowed line, make the rest monotone, add the line back.
    step = 1 if px_grad.shape[2] == frames else width - 1
    steepest = step * frame
    begin = steepest - _monotone(steepest - begin).clamp(min=0)
    return begin[..., None] + torch.arange(width, device=begin.device)


def do_rnnt_pruning(am: Tensor, lm: Tensor, ranges: Tensor) -> tuple[Tensor, Tensor]:
    """am (B, T, C) and lm (B, S+1, C) in the band: two tensors (B, T, s_range, C), the first a view."""
    batch, frames, width = ranges.shape
    _check_ranges(ranges, am.shape[:2], lm.shape[1])
    if len(lm) != batch:
        raise ValueError(f"am and lm must have one batch size, got {tuple(am.shape)} and {tuple(lm.shape)}")
    row = torch.arange(batch, device=lm.device)[:, None, None]
    return am[:, :, None].expand(batch, frames, width, am.shape[2]), lm[row, ranges]


def get_rnnt_logprobs_pruned(
    logits: Tensor,
    symbols: Tensor,
    ranges: Tensor,
    termination_symbol: int,
    boundary: Tensor | None = None,
    rnnt_type: str = "regular",
    use_hat_loss: bool = False,
) -> tuple[Tensor, Tensor]:
    """px and py (as in ``get_rnnt_logprobs_joint``), −inf outside the band, from logits (B, T, s_range, V) within it.

    ``use_hat_loss``: the blank's probability is the sigmoid of its logit, and the other symbols' softmax is scaled by the rest
    (HAT, Variani et al. 2020).
    """
    check_symbols(symbols, termination_symbol, logits.shape[-1])
    if logits.ndim != 4 or logits.shape[:3] != ranges.shape:
        raise ValueError(
            f"logits must be (B, T, s_range, V) over ranges {tuple(ranges.shape)}, got {tuple(logits.shape)}"
        )
    _check_ranges(ranges, (len(symbols), logits.shape[1]), symbols.shape[1] + 1)
    index = band_symbols(symbols, ranges, termination_symbol)
    if use_hat_loss:
        blank = logits[..., termination_symbol].to(torch.promote_types(logits.dtype, torch.float32))
        # The last position has no next symbol: any symbol but the blank serves, as its arc leads nowhere.
        label = index[..., :1].masked_fill(index[..., :1] == termination_symbol, int(termination_symbol == 0))
        labels = chosen_log_probs(logits, label, without=termination_symbol)[..., 0]
        px, py = labels + F.logsigmoid(-blank), F.logsigmoid(blank)
    else:
        px, py = chosen_log_probs(logits, index).unbind(-1)
    return band_arcs(px, py, ranges, symbols.shape[1], boundary, rnnt_type)


def rnnt_loss_pruned(
    logits: Tensor,
    symbols: Tensor,
    ranges: Tensor,
    termination_symbol: int,
    boundary: Tensor | None = None,
    rnnt_type: str = "regular",
    delay_penalty: float = 0.0,
    reduction: str = "mean",
    use_hat_loss: bool = False,
) -> Tensor:
    """``rnnt_loss`` over the paths within the band: logits (B, T, s_range, V), ranges from ``get_rnnt_prune_ranges``."""
    px, py = get_rnnt_logprobs_pruned(logits, symbols, ranges, termination_symbol, boundary, rnnt_type, use_hat_loss)
    return lattice_loss(px, py, boundary, delay_penalty, reduction)[0]


def whole_ranges(frames: int, symbols: Tensor) -> Tensor:
    """(B, T, S+1): the band that holds the whole lattice of symbols (B, S)."""
    batch, count = symbols.shape
    return torch.arange(count + 1, device=symbols.device).expand(batch, frames, count + 1)


def band_symbols(symbols: Tensor, ranges: Tensor, termination_symbol: int) -> Tensor:
    """(B, T, s_range, 2): the next symbol at each position of the band, the blank after the last, and the blank."""
    row = torch.arange(len(symbols), device=symbols.device)[:, None, None]
    following = F.pad(symbols, (0, 1), value=termination_symbol)[row, ranges]
    return torch.stack([following, torch.full_like(following, termination_symbol)], -1)


def band_arcs(
    px: Tensor, py: Tensor, ranges: Tensor, symbols: int, boundary: Tensor | None, rnnt_type: str
) -> tuple[Tensor, Tensor]:
    """The lattice's arcs from the band's log-probabilities px, py (B, T, s_range)."""
    batch, frames, _ = ranges.shape
    nowhere = px.new_full((batch, frames, symbols + 1), -torch.inf)
    px, py = (nowhere.scatter(2, ranges, x).transpose(1, 2) for x in (px, py))
    return arcs(px[:, :-1], py, boundary, rnnt_type)


def _monotone(x: Tensor) -> Tensor:
    """The largest sequence (B, T) that never falls and never exceeds x."""
    return x.flip(1).cummin(1).values.flip(1)


def _check_ranges(ranges: Tensor, sizes: tuple[int, int], rows: int) -> None:
    if ranges.ndim != 3 or tuple(ranges.shape[:2]) != tuple(sizes):
        raise ValueError(f"ranges must be (B, T, s_range) = {(*sizes, 's_range')}, got {tuple(ranges.shape)}")
    check_range("ranges", ranges, rows)
