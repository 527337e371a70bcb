"""The head-wise LSTM on an NVIDIA GPU: triton_lstm_kernels.py as an operator, on chip or frame by frame."""

import torch
from torch import Tensor

from audiorec_kernels.arguments import dense
from audiorec_kernels.launch import launch
from audiorec_kernels.operator import Operator
from audiorec_kernels.precision import full_precision
from audiorec_kernels.rnn.triton_common import backward_frames, by_head, chip, fits, forward_frames, states_before
from audiorec_kernels.rnn.triton_lstm_kernels import (
    backward_kernel,
    backward_step_kernel,
    forward_kernel,
    forward_step_kernel,
)


def lstm(
    wx: Tensor,
    R: Tensor,
    b: Tensor,
    initial_state: tuple[Tensor, Tensor] | None,
    lengths: Tensor | None,
    reset: Tensor | None,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    rows, _, _, heads, dim = wx.shape
    R = dense(R, wx.dtype)
    h, c = initial_state or wx.new_zeros(2, rows, heads, dim, dtype=torch.float32).unbind()
    options = dense(lengths, torch.int64), dense(reset, torch.int32)
    y, h, c, _ = _OPERATOR(wx.contiguous(), R, dense(b), dense(h), dense(c), *options)
    return y, (h, c)


def _outputs(
    wx: Tensor, R: Tensor, b: Tensor, h: Tensor, c: Tensor, lengths: Tensor | None, reset: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """y, the last h and c, and every c (B, T, H, D)."""
    rows, time, _, heads, dim = wx.shape
    y = wx.new_empty(rows, time, heads, dim)
    return y, torch.empty_like(h), torch.empty_like(c), torch.empty_like(y, dtype=torch.float32)


def _forward(
    wx: Tensor, R: Tensor, b: Tensor, h: Tensor, c: Tensor, lengths: Tensor | None, reset: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    inputs = wx, R, b, h, c, lengths, reset
    outputs = _outputs(*inputs)
    rows, time, _, heads, dim = wx.shape
    if fits(R):
        grid, constants = chip(R, rows)
        launch(forward_kernel, grid, *inputs, *outputs, rows, time, heads, dim, **constants)
        return outputs
    y, h_last, c_last, memory = outputs
    h_last.copy_(h)
    c_last.copy_(c)
    forward_frames(forward_step_kernel, R, h, y, wx, b, lengths, reset, y, memory, h_last, c_last)
    return outputs


def _gradients(dy: Tensor, dh: Tensor, dc: Tensor, dmemory: Tensor, *inputs) -> tuple[Tensor, ...]:
    return tuple(map(torch.empty_like, inputs[:5]))  # wx, R, b, h, c


def _backward(
    dy: Tensor,
    dh: Tensor,
    dc: Tensor,
    dmemory: Tensor,
    wx: Tensor,
    R: Tensor,
    b: Tensor,
    h: Tensor,
    c: Tensor,
    lengths: Tensor | None,
    reset: Tensor | None,
    y: Tensor,
    memory: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Two products take all frames at once: the gates are computed again before the loop, dR comes after it."""
    rows, time, _, heads, dim = wx.shape
    dwx, dh_first, dc_first = torch.empty_like(wx), torch.empty_like(h), torch.empty_like(c)
    before = states_before(y, h, reset)
    with full_precision(R):
        gates = torch.baddbmm(by_head(wx), before, R.flatten(2))
    if fits(R):
        grid, constants = chip(R, rows)
        tensors = gates, R, b, c, lengths, reset, memory, dy, dh, dc, dwx, dh_first, dc_first
        launch(backward_kernel, grid, *tensors, rows, time, heads, dim, **constants)
    else:
        dh_first.copy_(dh)
        dc_first.copy_(dc)
        tensors = gates, b, c, lengths, reset, memory, dy, dwx, dc_first
        backward_frames(backward_step_kernel, R, dh_first, time, *tensors)
    with full_precision(R):
        dR = (before.mT @ by_head(dwx)).view_as(R)
    return dwx, dR, dwx.sum((0, 1), dtype=torch.float32), dh_first, dc_first


def _keep(inputs: tuple, outputs: tuple) -> tuple:
    y, _, _, memory = outputs
    return *inputs, y, memory


_OPERATOR = Operator("lstm_triton", _forward, _outputs, _keep, _backward, _gradients)
