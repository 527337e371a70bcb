"""The transducer's lattice on a CPU: csrc/lattice.cpp."""

import torch
from torch import Tensor

from audiorec_kernels.arguments import dense
from audiorec_kernels.native import kernel, threads
from audiorec_kernels.operator import Operator

_lattice = kernel("transducer_lattice", sizes=4, tensors=6)


def transducer_lattice(px: Tensor, py: Tensor, boundary: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    outputs = _LATTICE(dense(px), dense(py), boundary.contiguous())
    return tuple(x.to(px.dtype) for x in outputs)


def _outputs(px: Tensor, py: Tensor, boundary: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return px.new_empty(len(px)), torch.empty_like(px), torch.empty_like(py)


def _forward(px: Tensor, py: Tensor, boundary: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    found = _outputs(px, py, boundary)
    (batch, rows, frames), regular = py.shape, px.shape[2] > py.shape[2]
    _lattice(batch, rows - 1, frames, int(regular), px, py, boundary, *found, threads(py.numel()))
    return found


def _gradients(
    grad: Tensor, grad_px: Tensor, grad_py: Tensor, px_occupancy: Tensor, py_occupancy: Tensor
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(px_occupancy), torch.empty_like(py_occupancy)


def _backward(
    grad: Tensor, grad_px: Tensor, grad_py: Tensor, px_occupancy: Tensor, py_occupancy: Tensor
) -> tuple[Tensor, Tensor]:
    grad = grad[:, None, None]
    return px_occupancy * grad, py_occupancy * grad


def _keep(inputs: tuple, outputs: tuple) -> tuple:
    return outputs[1:]


_LATTICE = Operator("transducer_lattice", _forward, _outputs, _keep, _backward, _gradients)
