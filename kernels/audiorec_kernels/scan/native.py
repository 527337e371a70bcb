"""The linear recurrences on a CPU: csrc/scan.cpp."""

import torch
from torch import Tensor

from audiorec_kernels.arguments import dense
from audiorec_kernels.native import kernel, threads
from audiorec_kernels.operator import Operator

_linear = kernel("linear_scan", sizes=3, tensors=7)
_linear_backward = kernel("linear_scan_backward", sizes=3, tensors=10)


def linear_scan(
    a: Tensor, b: Tensor, initial_state: Tensor | None, lengths: Tensor | None, reset: Tensor | None
) -> tuple[Tensor, Tensor]:
    y, h = _LINEAR(dense(a), dense(b), dense(initial_state), dense(lengths, torch.int64), dense(reset, torch.bool))
    return y.to(b.dtype), h


def _outputs(
    a: Tensor, b: Tensor, initial: Tensor | None, lengths: Tensor | None, reset: Tensor | None
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(b), b.new_empty(b.shape[0], b.shape[2])


def _forward(
    a: Tensor, b: Tensor, initial: Tensor | None, lengths: Tensor | None, reset: Tensor | None
) -> tuple[Tensor, Tensor]:
    y, h = _outputs(a, b, initial, lengths, reset)
    _linear(*b.shape, a, b, initial, lengths, reset, y, h, threads(b.numel()))
    return y, h


def _gradients(
    grad_y: Tensor,
    grad_h: Tensor,
    a: Tensor,
    y: Tensor,
    initial: Tensor | None,
    lengths: Tensor | None,
    reset: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(y), torch.empty_like(y), torch.empty_like(grad_h, memory_format=torch.contiguous_format)


def _backward(
    grad_y: Tensor,
    grad_h: Tensor,
    a: Tensor,
    y: Tensor,
    initial: Tensor | None,
    lengths: Tensor | None,
    reset: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    found = _gradients(grad_y, grad_h, a, y, initial, lengths, reset)
    inputs = grad_y.contiguous(), grad_h.contiguous(), a, y, initial, lengths, reset
    _linear_backward(*y.shape, *inputs, *found, threads(y.numel()))
    return found


def _keep(inputs: tuple, outputs: tuple) -> tuple:
    (a, _, *rest), (y, _) = inputs, outputs
    return a, y, *rest


_LINEAR = Operator("linear_scan", _forward, _outputs, _keep, _backward, _gradients)
