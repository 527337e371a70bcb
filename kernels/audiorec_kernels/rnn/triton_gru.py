"""The head-wise GRU on an NVIDIA GPU: triton_gru_kernels.py as an operator, on chip or frame by frame."""

import torch
from torch import Tensor

from audiorec_kernels.arguments import dense
from audiorec_kernels.launch import launch
from audiorec_kernels.operator import Operator
from audiorec_kernels.precision import full_precision
from audiorec_kernels.rnn.triton_common import backward_frames, by_head, chip, fits, forward_frames, states_before
from audiorec_kernels.rnn.triton_gru_kernels import (
    backward_kernel,
    backward_step_kernel,
    forward_kernel,
    forward_step_kernel,
)


def gru(
    wx: Tensor,
    R: Tensor,
    b: Tensor,
    b_n: Tensor,
    initial_state: Tensor | None,
    lengths: Tensor | None,
    reset: Tensor | None,
) -> tuple[Tensor, Tensor]:
    rows, _, _, heads, dim = wx.shape
    R = dense(R, wx.dtype)
    h = wx.new_zeros(rows, heads, dim, dtype=torch.float32) if initial_state is None else initial_state
    options = dense(lengths, torch.int64), dense(reset, torch.int32)
    return _OPERATOR(wx.contiguous(), R, dense(b), dense(b_n), dense(h), *options)


def _outputs(
    wx: Tensor, R: Tensor, b: Tensor, b_n: Tensor, h: Tensor, lengths: Tensor | None, reset: Tensor | None
) -> tuple[Tensor, Tensor]:
    rows, time, _, heads, dim = wx.shape
    return wx.new_empty(rows, time, heads, dim), torch.empty_like(h)


def _forward(
    wx: Tensor, R: Tensor, b: Tensor, b_n: Tensor, h: Tensor, lengths: Tensor | None, reset: Tensor | None
) -> tuple[Tensor, Tensor]:
    inputs = wx, R, b, b_n, h, lengths, reset
    outputs = _outputs(*inputs)
    rows, time, _, heads, dim = wx.shape
    if fits(R):
        grid, constants = chip(R, rows)
        launch(forward_kernel, grid, *inputs, *outputs, rows, time, heads, dim, **constants)
        return outputs
    y, h_last = outputs
    h_last.copy_(h)
    forward_frames(forward_step_kernel, R, h, y, wx, b, b_n, lengths, reset, y, h_last)
    return outputs


def _gradients(dy: Tensor, dh: Tensor, *inputs) -> tuple[Tensor, ...]:
    return tuple(map(torch.empty_like, inputs[:5]))  # wx, R, b, b_n, h


def _backward(
    dy: Tensor,
    dh: Tensor,
    wx: Tensor,
    R: Tensor,
    b: Tensor,
    b_n: Tensor,
    h: Tensor,
    lengths: Tensor | None,
    reset: Tensor | None,
    y: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Two products take all frames at once: R h_{t−1} is computed again before the loop, dR comes after it."""
    rows, time, _, heads, dim = wx.shape
    dwx, dinner, dh_first = torch.empty_like(wx), torch.empty_like(y), torch.empty_like(h)
    before = states_before(y, h, reset)
    with full_precision(R):
        products = before @ R.flatten(2)
    if fits(R):
        grid, constants = chip(R, rows)
        tensors = wx, products, before, R, b, b_n, lengths, reset, dy, dh, dwx, dinner, dh_first
        # Left alone, ptxas stops at 128 registers and spills, to make room for a second program that does not come.
        launch(backward_kernel, grid, *tensors, rows, time, heads, dim, **constants, maxnreg=192)
    else:
        dh_first.copy_(dh)
        tensors = wx, products, before, b, b_n, lengths, reset, dy, dwx, dinner
        backward_frames(backward_step_kernel, R, dh_first, time, *tensors)
    dproducts = torch.cat([dwx[:, :, :2], dinner[:, :, None]], 2)
    with full_precision(R):
        dR = (before.mT @ by_head(dproducts)).view_as(R)
    biases = dwx.sum((0, 1), dtype=torch.float32), dinner.sum((0, 1), dtype=torch.float32)
    return dwx, dR, *biases, dh_first


def _keep(inputs: tuple, outputs: tuple) -> tuple:
    return *inputs, outputs[0]


_OPERATOR = Operator("gru_triton", _forward, _outputs, _keep, _backward, _gradients)
