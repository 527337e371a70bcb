"""The causal depthwise convolution on a CPU: csrc/conv.cpp."""

import torch
from torch import Tensor

from audiorec_kernels.arguments import dense
from audiorec_kernels.native import kernel, threads
from audiorec_kernels.operator import Operator

_conv = kernel("causal_conv", sizes=7, tensors=8)
_conv_backward = kernel("causal_conv_backward", sizes=7, tensors=12)


def causal_conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    activation: str | None,
    initial_state: Tensor | None,
    lengths: Tensor | None,
    reset: Tensor | None,
) -> tuple[Tensor, Tensor]:
    # Half of a projection, as Mamba's x is, is read where it stands.
    frames = x.float() if x.stride(2) == 1 else dense(x)
    rest = dense(initial_state), dense(lengths, torch.int64), dense(reset, torch.bool)
    y, state = _CONV(frames, dense(weight.T), dense(bias), *rest, activation == "silu")
    return y.to(x.dtype), state


def _outputs(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    initial: Tensor | None,
    lengths: Tensor | None,
    reset: Tensor | None,
    silu: bool,
) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), x.new_empty(x.shape[0], weight.shape[0] - 1, x.shape[2])


def _forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    initial: Tensor | None,
    lengths: Tensor | None,
    reset: Tensor | None,
    silu: bool,
) -> tuple[Tensor, Tensor]:
    outputs = _outputs(x, weight, bias, initial, lengths, reset, silu)
    inputs = x, weight, bias, initial, lengths, reset
    _conv(*_sizes(x, weight, silu), *inputs, *outputs, threads(x.numel()))
    return outputs


def _sizes(x: Tensor, weight: Tensor, silu: bool) -> tuple[int, ...]:
    return *x.shape, weight.shape[0], silu, x.stride(0), x.stride(1)


def _gradients(
    grad_y: Tensor, grad_state: Tensor, x: Tensor, weight: Tensor, *_: object
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of x, weight, bias and the state, uninitialised."""
    return x.new_empty(x.shape), torch.empty_like(weight), x.new_empty(x.shape[2]), x.new_empty(grad_state.shape)


def _backward(
    grad_y: Tensor,
    grad_state: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    initial: Tensor | None,
    lengths: Tensor | None,
    reset: Tensor | None,
    silu: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    gradients = _gradients(grad_y, grad_state, x, weight)
    inputs = grad_y, grad_state, x, weight, bias, initial, lengths, reset
    _conv_backward(*_sizes(x, weight, silu), *inputs, *gradients, threads(x.numel()))
    return gradients


_CONV = Operator("causal_conv1d", _forward, _outputs, lambda inputs, _: inputs, _backward, _gradients)
