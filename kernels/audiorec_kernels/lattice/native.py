"""The transducer's lattice on a CPU: csrc/lattice.cpp."""

from torch import Tensor

from audiorec_kernels.arguments import dense
from audiorec_kernels.lattice.gradient import operator, outputs
from audiorec_kernels.native import kernel, threads

_lattice = kernel("transducer_lattice", sizes=4, tensors=6)


def transducer_lattice(px: Tensor, py: Tensor, boundary: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    found = _LATTICE(dense(px), dense(py), boundary.contiguous())
    return tuple(x.to(px.dtype) for x in found)


def _forward(px: Tensor, py: Tensor, boundary: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    found = outputs(px, py, boundary)
    (batch, rows, frames), regular = py.shape, px.shape[2] > py.shape[2]
    _lattice(batch, rows - 1, frames, int(regular), px, py, boundary, *found, threads(py.numel()))
    return found


_LATTICE = operator("transducer_lattice", _forward)
