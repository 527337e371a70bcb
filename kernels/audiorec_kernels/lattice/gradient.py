"""The transducer's lattice as an operator: its occupancies are its gradient, whoever computes them."""

from collections.abc import Callable

import torch
from torch import Tensor

from audiorec_kernels.operator import Operator


def operator(name: str, forward: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]) -> Operator:
    """Of px, py and boundary: the score and the occupancies of px and py."""
    return Operator(name, forward, outputs, _keep, _backward, _gradients)


def outputs(px: Tensor, py: Tensor, boundary: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return px.new_empty(len(px)), torch.empty_like(px), torch.empty_like(py)


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
