"""The lattices on a CPU: csrc/lattice.cpp and csrc/arc_lattice.cpp."""

import torch
from torch import Tensor

from audiorec_kernels.arguments import dense
from audiorec_kernels.lattice.gradient import arc_operator, arc_outputs, transducer_operator, transducer_outputs
from audiorec_kernels.lattice.reference import Moves
from audiorec_kernels.native import kernel, threads
from audiorec_kernels.operator import Ints

_transducer = kernel("transducer_lattice", sizes=4, tensors=6)
_arcs = kernel("arc_lattice", sizes=4, tensors=5)


def transducer_lattice(px: Tensor, py: Tensor, boundary: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    results = _TRANSDUCER(dense(px), dense(py), boundary.contiguous())
    return tuple(x.to(px.dtype) for x in results)


def _transducer_forward(px: Tensor, py: Tensor, boundary: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    outputs = transducer_outputs(px, py, boundary)
    (batch, rows, frames), regular = py.shape, px.shape[2] > py.shape[2]
    _transducer(batch, rows - 1, frames, int(regular), px, py, boundary, *outputs, threads(py.numel()))
    return outputs


_TRANSDUCER = transducer_operator("transducer_lattice", _transducer_forward)


def arc_lattice(arcs: Tensor, moves: Moves, boundary: Tensor) -> Tensor:
    symbols, frames = zip(*moves, strict=True)
    score, _ = _ARCS(dense(arcs), list(symbols), list(frames), boundary.contiguous())
    return score.to(arcs.dtype)


def _arc_forward(arcs: Tensor, symbols: Ints, frames: Ints, boundary: Tensor) -> tuple[Tensor, Tensor]:
    outputs = arc_outputs(arcs, symbols, frames, boundary)
    sorts, batch, rows, columns = arcs.shape
    moves = torch.tensor([symbols, frames]).T.contiguous()
    _arcs(batch, rows - 1, columns - 1, sorts, arcs, moves, boundary, *outputs, threads(arcs.numel()))
    return outputs


_ARCS = arc_operator("arc_lattice", _arc_forward)
