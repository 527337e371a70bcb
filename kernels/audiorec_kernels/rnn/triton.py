"""The head-wise LSTM on an NVIDIA GPU: triton_kernels.py as an operator; heads too large for it are the reference's."""

import torch
import triton
from torch import Tensor

from audiorec_kernels.arguments import dense
from audiorec_kernels.launch import launch
from audiorec_kernels.operator import Operator
from audiorec_kernels.rnn import reference
from audiorec_kernels.rnn.triton_kernels import backward_kernel, forward_kernel

# Rows of one program: the least that a matrix unit takes.
_ROWS = 16
# Bytes of a recurrent matrix that a multiprocessor holds beside the frames in flight.
_ON_CHIP = 128 << 10


def lstm(
    wx: Tensor,
    R: Tensor,
    b: Tensor,
    initial_state: tuple[Tensor, Tensor] | None,
    lengths: Tensor | None,
    reset: Tensor | None,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    rows, _, _, heads, dim = wx.shape
    if 4 * _padded(dim) ** 2 * wx.element_size() > _ON_CHIP:
        return reference.lstm(wx, R, b, initial_state, lengths, reset)
    h, c = initial_state or wx.new_zeros(2, rows, heads, dim, dtype=torch.float32).unbind()
    options = dense(lengths, torch.int64), dense(reset, torch.uint8)
    y, h, c, _ = _OPERATOR(wx.contiguous(), dense(R, wx.dtype), dense(b), dense(h), dense(c), *options)
    return y, (h, c)


def _padded(dim: int) -> int:
    return max(16, 1 << (dim - 1).bit_length())


def _constants(dim: int) -> dict[str, int]:
    return {"ROWS": _ROWS, "DIM": _padded(dim), "num_warps": 8 if dim > 32 else 4}


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
    y, h_last, c_last, memory = _outputs(wx, R, b, h, c, lengths, reset)
    rows, time, _, heads, dim = wx.shape
    tensors = wx, R, b, h, c, lengths, reset, y, memory, h_last, c_last
    grid = heads, triton.cdiv(rows, _ROWS)
    launch(forward_kernel, grid, *tensors, rows, time, heads, dim, **_constants(dim))
    return y, h_last, c_last, memory


def _gradients(
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
    return torch.empty_like(wx), torch.empty_like(R), torch.empty_like(b), torch.empty_like(h), torch.empty_like(c)


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
    """What needs every frame at once are two products: the gates are made anew before the loop, dR comes after it."""
    rows, time, _, heads, dim = wx.shape
    dwx, dh_first, dc_first = torch.empty_like(wx), torch.empty_like(h), torch.empty_like(c)
    before = torch.cat([h[:, None].to(y.dtype), y], 1)[:, :time]
    if reset is not None:
        before = before.masked_fill(reset[..., None, None].bool(), 0)
    before = before.permute(2, 0, 1, 3).reshape(heads, rows * time, dim)
    z = before @ R.flatten(2)
    last = dh.contiguous(), dc.contiguous()
    tensors = wx, z, R, b, c, lengths, reset, memory, dy.contiguous(), *last, dwx, dh_first, dc_first
    grid = heads, triton.cdiv(rows, _ROWS)
    launch(backward_kernel, grid, *tensors, rows, time, heads, dim, **_constants(dim))
    dz = dwx.permute(3, 0, 1, 2, 4).reshape(heads, rows * time, 4 * dim)
    dR = (before.transpose(1, 2) @ dz).view_as(R)
    return dwx, dR, dwx.sum((0, 1), dtype=torch.float32), dh_first, dc_first


def _keep(inputs: tuple, outputs: tuple) -> tuple:
    y, _, _, memory = outputs
    return *inputs, y, memory


_OPERATOR = Operator("lstm_triton", _forward, _outputs, _keep, _backward, _gradients)
