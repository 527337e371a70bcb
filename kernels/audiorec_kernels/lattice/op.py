"""The lattices as differentiable functions: a score's gradient is the occupancy of the arcs."""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from audiorec_kernels.lattice import reference
from audiorec_kernels.lattice.reference import Moves


def transducer_lattice(px: Tensor, py: Tensor, boundary: Tensor | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """log of the summed probability of all paths through a transducer's lattice (Graves 2012), and its arcs' occupancies.

    py (B, S+1, T): log-probability of a blank, (s, t) → (s, t+1). px, of a symbol: (B, S, T+1) for the regular lattice,
    (s, t) → (s+1, t), or (B, S, T) for the modified one, (s, t) → (s+1, t+1). boundary (B, 4) int64: first symbol, first
    frame, last symbol, last frame of each row; by default (0, 0, S, T). What stands outside it reaches nothing.

    Returns scores (B,), −inf for a row without a path, whose occupancies are zero, and the occupancies of px and py, of
    their shapes: the score's gradient. They carry none of their own.
    """
    boundary = _checked(px, py, boundary)
    score, *occupancies = _Transducer.apply(px, py, boundary)
    return score, tuple(occupancies)


def arc_lattice(arcs: Tensor, moves: Moves, boundary: Tensor) -> Tensor:
    """Scores (B,) of a lattice with any sorts of arcs, differentiable: ``reference.path_sum`` says what they are."""
    return _Arcs.apply(arcs, moves, boundary)


class _Transducer(torch.autograd.Function):
    @staticmethod
    def forward(ctx, px: Tensor, py: Tensor, boundary: Tensor):
        score, px_occupancy, py_occupancy = reference.transducer(px, py, boundary)
        ctx.save_for_backward(px_occupancy, py_occupancy)
        ctx.mark_non_differentiable(px_occupancy, py_occupancy)
        return score, px_occupancy, py_occupancy

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor, *_):
        px_occupancy, py_occupancy = ctx.saved_tensors
        gradient = gradient[:, None, None]
        return px_occupancy * gradient, py_occupancy * gradient, None


class _Arcs(torch.autograd.Function):
    @staticmethod
    def forward(ctx, arcs: Tensor, moves: Moves, boundary: Tensor):
        score, occupancy = reference.path_sum(arcs, moves, boundary)
        ctx.save_for_backward(occupancy)
        return score

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        return ctx.saved_tensors[0] * gradient[:, None, None], None, None


def _checked(px: Tensor, py: Tensor, boundary: Tensor | None) -> Tensor:
    """The boundary, given or whole; one clear ValueError for tensors that do not fit."""
    name = "transducer_lattice"
    if py.ndim != 3 or px.ndim != 3 or px.shape[1] != py.shape[1] - 1 or px.shape[2] - py.shape[2] not in (0, 1):
        raise ValueError(
            f"{name}: px must be (B, S, T+1) or (B, S, T) and py (B, S+1, T), got {tuple(px.shape)} and {tuple(py.shape)}"
        )
    batch, symbols, frames = len(py), px.shape[1], py.shape[2]
    if len(px) != batch or px.dtype != py.dtype or px.device != py.device or not px.is_floating_point():
        raise ValueError(f"{name}: px and py must have one batch size, floating-point type and device")
    whole = torch.tensor([0, 0, symbols, frames], device=px.device)
    if boundary is None:
        return whole.expand(batch, 4)
    if boundary.shape != (batch, 4) or boundary.is_floating_point():
        raise ValueError(f"{name}: boundary must be integers ({batch}, 4), got {tuple(boundary.shape)}")
    boundary = boundary.to(px.device, torch.int64)
    if ((boundary[:, :2] < 0) | (boundary[:, :2] > boundary[:, 2:]) | (boundary[:, 2:] > whole[2:])).any():
        raise ValueError(
            f"{name}: boundary rows must satisfy 0 ≤ first ≤ last ≤ {[symbols, frames]}, got {boundary.tolist()}"
        )
    return boundary
