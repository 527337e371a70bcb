"""Sums over the paths of a transducer's lattice."""

from collections.abc import Sequence

import torch
from torch import Tensor

from audiorec_kernels.backends import choose, prepare

__all__ = ["arc_lattice", "transducer_lattice"]


def transducer_lattice(px: Tensor, py: Tensor, boundary: Tensor | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """log of the summed probability of all paths through a transducer's lattice (Graves 2012), and its arcs' occupancies.

    py (B, S+1, T): log-probability of a blank, (s, t) → (s, t+1). px, of a symbol: (B, S, T+1) for the regular lattice,
    (s, t) → (s+1, t), or (B, S, T) for the modified one, (s, t) → (s+1, t+1). boundary (B, 4) int64: first symbol, first
    frame, last symbol, last frame of each row; by default (0, 0, S, T). What stands outside it reaches nothing. On a GPU its
    values are not looked at: that would wait for it, and kernels stay within the lattice.

    Returns scores (B,), −inf for a row without a path, whose occupancies are zero, and the occupancies of px and py, of
    their shapes: the score's gradient. They carry none of their own. Raises ValueError where arguments disagree.
    """
    name = "transducer_lattice"
    if py.ndim != 3 or px.ndim != 3 or px.shape[1] != py.shape[1] - 1 or px.shape[2] - py.shape[2] not in (0, 1):
        sizes = f"{tuple(px.shape)} and {tuple(py.shape)}"
        raise ValueError(f"{name}: px must be (B, S, T+1) or (B, S, T) and py (B, S+1, T), got {sizes}")
    if len(px) != len(py) or px.dtype != py.dtype or px.device != py.device or not px.is_floating_point():
        raise ValueError(f"{name}: px and py must have one batch size, floating-point type and device")
    boundary = _boundary(name, boundary, px, px.shape[1], py.shape[2])
    score, px_occupancy, py_occupancy = choose(__name__, name, px)(px, py, boundary)
    return score, (px_occupancy.detach(), py_occupancy.detach())


def arc_lattice(arcs: Tensor, moves: Sequence[tuple[int, int]], boundary: Tensor | None = None) -> Tensor:
    """Scores (B,) of a lattice with any sorts of arcs: arcs (K, B, S+1, T+1), log-probability of arc k out of node (s, t),
    which leads to (s, t) + moves[k], so many symbols and frames; the rest is as in ``transducer_lattice``."""
    name = "arc_lattice"
    if arcs.ndim != 4 or not arcs.is_floating_point() or not 0 < len(moves) == len(arcs):
        raise ValueError(
            f"{name}: arcs must be (K, B, S+1, T+1) with K moves, got {tuple(arcs.shape)} and {list(moves)}"
        )
    if any(ds < 0 or dt < 0 or ds + dt == 0 for ds, dt in moves):
        raise ValueError(f"{name}: moves must lead forward in symbols or frames, got {list(moves)}")
    boundary = _boundary(name, boundary, arcs, arcs.shape[2] - 1, arcs.shape[3] - 1)
    return choose(__name__, name, arcs)(arcs, moves, boundary)


def _boundary(name: str, boundary: Tensor | None, x: Tensor, symbols: int, frames: int) -> Tensor:
    """As given, or whole: int64 on the device of ``x``."""
    batch = x.shape[-3]
    whole = torch.tensor([0, 0, symbols, frames])
    if boundary is None:
        return whole.to(x.device, non_blocking=True).expand(batch, 4)
    if boundary.shape != (batch, 4) or boundary.is_floating_point():
        raise ValueError(
            f"{name}: boundary must be integers ({batch}, 4), got {boundary.dtype} {tuple(boundary.shape)}"
        )
    if boundary.device.type == "cpu" and not torch.compiler.is_compiling():  # a graph cannot depend on values
        first, last = boundary[:, :2], boundary[:, 2:]
        if ((first < 0) | (first > last) | (last > whole[2:])).any():
            limit = f"0 ≤ first ≤ last ≤ ({symbols}, {frames}) in symbols and frames"
            raise ValueError(f"{name}: boundary must have rows with {limit}, got {boundary.tolist()}")
    return boundary.to(x.device, torch.int64)


prepare(__name__, "transducer_lattice", "arc_lattice")
