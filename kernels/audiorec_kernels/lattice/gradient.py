"""The lattices as operators: their occupancies are their gradient, whoever computes them."""

from collections.abc import Callable

import torch
from torch import Tensor

from audiorec_kernels.operator import Operator


def transducer_operator(
    name: str, forward: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
) -> Operator:
    """Of px, py and boundary: the score and the occupancies of px and py."""
    return Operator(name, forward, transducer_outputs, _keep_occupancies, _transducer_backward, _transducer_gradients)


def transducer_outputs(px: Tensor, py: Tensor, boundary: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return px.new_empty(len(px)), torch.empty_like(px), torch.empty_like(py)


def _transducer_gradients(
    grad: Tensor, grad_px: Tensor, grad_py: Tensor, px_occupancy: Tensor, py_occupancy: Tensor
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(px_occupancy), torch.empty_like(py_occupancy)


def _transducer_backward(
    grad: Tensor, grad_px: Tensor, grad_py: Tensor, px_occupancy: Tensor, py_occupancy: Tensor
) -> tuple[Tensor, Tensor]:
    grad = grad[:, None, None]
    return px_occupancy * grad, py_occupancy * grad


def arc_operator(
    name: str, forward: Callable[[Tensor, list[int], list[int], Tensor], tuple[Tensor, Tensor]]
) -> Operator:
    """Of arcs, the symbols and the frames that each sort advances by, and boundary: the score and the arcs' occupancies."""
    return Operator(name, forward, arc_outputs, _keep_occupancies, _arc_backward, _arc_gradients)


def arc_outputs(arcs: Tensor, symbols: list[int], frames: list[int], boundary: Tensor) -> tuple[Tensor, Tensor]:
    return arcs.new_empty(arcs.shape[1]), torch.empty_like(arcs)


def _arc_gradients(grad: Tensor, grad_occupancy: Tensor, occupancy: Tensor) -> tuple[Tensor]:
    return (torch.empty_like(occupancy),)


def _arc_backward(grad: Tensor, grad_occupancy: Tensor, occupancy: Tensor) -> tuple[Tensor]:
    return (occupancy * grad[:, None, None],)


def _keep_occupancies(inputs: tuple, outputs: tuple) -> tuple:
    return outputs[1:]
