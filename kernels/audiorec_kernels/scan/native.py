"""The linear recurrences on a CPU: csrc/scan.cpp, csrc/log_scan.cpp."""

import torch
from torch import Tensor

from audiorec_kernels.arguments import dense
from audiorec_kernels.native import kernel, threads
from audiorec_kernels.operator import Operator

_linear = kernel("linear_scan", sizes=3, tensors=7)
_linear_backward = kernel("linear_scan_backward", sizes=3, tensors=10)
_log = kernel("log_linear_scan", sizes=3, tensors=7)
_log_backward = kernel("log_linear_scan_backward", sizes=3, tensors=11)


def linear_scan(
    a: Tensor, b: Tensor, initial_state: Tensor | None, lengths: Tensor | None, reset: Tensor | None
) -> tuple[Tensor, Tensor]:
    y, h = _LINEAR(dense(a), dense(b), dense(initial_state), dense(lengths, torch.int64), dense(reset, torch.bool))
    return y.to(b.dtype), h


def log_linear_scan(
    log_a: Tensor, log_b: Tensor, initial_state: Tensor | None, lengths: Tensor | None, reset: Tensor | None
) -> tuple[Tensor, Tensor]:
    y, h = _LOG(dense(log_a), dense(log_b), dense(initial_state), dense(lengths, torch.int64), dense(reset, torch.bool))
    return y.to(log_b.dtype), h


def _outputs(
    a: Tensor, b: Tensor, initial: Tensor | None, lengths: Tensor | None, reset: Tensor | None
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(b), b.new_empty(b.shape[0], b.shape[2])


def _linear_forward(
    a: Tensor, b: Tensor, initial: Tensor | None, lengths: Tensor | None, reset: Tensor | None
) -> tuple[Tensor, Tensor]:
    y, h = _outputs(a, b, initial, lengths, reset)
    _linear(*b.shape, a, b, initial, lengths, reset, y, h, threads(b.numel()))
    return y, h


def _log_forward(
    log_a: Tensor, log_b: Tensor, initial: Tensor | None, lengths: Tensor | None, reset: Tensor | None
) -> tuple[Tensor, Tensor]:
    y, h = _outputs(log_a, log_b, initial, lengths, reset)
    _log(*y.shape, log_a, log_b, initial, lengths, reset, y, h, threads(8 * y.numel()))
    return y, h


def _gradients(grad_y: Tensor, grad_h: Tensor, a: Tensor, *_: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Of a, b and the state, uninitialised."""
    return torch.empty_like(a), torch.empty_like(a), a.new_empty(grad_h.shape)


def _linear_gradients(
    grad_y: Tensor,
    grad_h: Tensor,
    a: Tensor,
    y: Tensor,
    initial: Tensor | None,
    lengths: Tensor | None,
    reset: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    inputs = grad_y, grad_h, a, y, initial, lengths, reset
    gradients = _gradients(*inputs)
    _linear_backward(*a.shape, *inputs, *gradients, threads(a.numel()))
    return gradients


def _log_gradients(
    grad_y: Tensor,
    grad_h: Tensor,
    log_a: Tensor,
    log_b: Tensor,
    y: Tensor,
    initial: Tensor | None,
    lengths: Tensor | None,
    reset: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    inputs = grad_y, grad_h, log_a, log_b, y, initial, lengths, reset
    gradients = _gradients(*inputs)
    _log_backward(*log_a.shape, *inputs, *gradients, threads(8 * log_a.numel()))
    return gradients


def _keep_linear(inputs: tuple, outputs: tuple) -> tuple:
    (a, _, *rest), (y, _) = inputs, outputs
    return a, y, *rest


def _keep_log(inputs: tuple, outputs: tuple) -> tuple:
    (log_a, log_b, *rest), (y, _) = inputs, outputs
    return log_a, log_b, y, *rest


_LINEAR = Operator("linear_scan", _linear_forward, _outputs, _keep_linear, _linear_gradients, _gradients)
_LOG = Operator("log_linear_scan", _log_forward, _outputs, _keep_log, _log_gradients, _gradients)
