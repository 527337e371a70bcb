"""The definition of the head-wise LSTM and GRU, in plain torch: a loop over time."""

import torch
from torch import Tensor

from audiorec_kernels.arguments import frames_of, padding
from audiorec_kernels.precision import full_precision


def lstm(
    wx: Tensor,
    R: Tensor,
    b: Tensor,
    initial_state: tuple[Tensor, Tensor] | None,
    lengths: Tensor | None,
    reset: Tensor | None,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    def step(frame: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        h, c = state
        i, f, g, o = (frame + _recurrent(h, R)).unbind(1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c

    dtype = torch.promote_types(wx.dtype, torch.float32)
    R, b = R.to(dtype), b.to(dtype)
    y, (h, c) = _over_time(step, wx, b, initial_state or (None, None), lengths, reset)
    return y, (h, c)


def gru(
    wx: Tensor,
    R: Tensor,
    b: Tensor,
    b_n: Tensor,
    initial_state: Tensor | None,
    lengths: Tensor | None,
    reset: Tensor | None,
) -> tuple[Tensor, Tensor]:
    def step(frame: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        (h,), (x_r, x_z, x_n) = state, frame.unbind(1)
        r, z, n = _recurrent(h, R).unbind(1)
        z = torch.sigmoid(x_z + z)
        n = torch.tanh(x_n + torch.sigmoid(x_r + r) * (n + b_n))
        return ((1 - z) * n + z * h,)

    dtype = torch.promote_types(wx.dtype, torch.float32)
    R, b, b_n = R.to(dtype), b.to(dtype), b_n.to(dtype)
    y, (h,) = _over_time(step, wx, b, (initial_state,), lengths, reset)
    return y, h


def _recurrent(h: Tensor, R: Tensor) -> Tensor:
    """(B, gates, H, D): each head's state (B, H, D) times that head's matrix."""
    return torch.einsum("bhi,higd->bghd", h, R)


def _over_time(
    step, wx: Tensor, b: Tensor, state: tuple[Tensor | None, ...], lengths: Tensor | None, reset: Tensor | None
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """y (B, T, H, D), the first of the states at each frame, in wx's dtype; and the states at each row's length."""
    y_dtype, (batch, _, _, heads, dim) = wx.dtype, wx.shape
    state = tuple(b.new_zeros(batch, heads, dim) if s is None else s.to(b.dtype) for s in state)
    resets, holds = frames_of(reset, lengths, wx), [None] * wx.shape[1]
    if lengths is not None:
        past = padding(wx, lengths)[..., None, None]
        wx, holds = wx.masked_fill(past[..., None], 0), past.unbind(1)
    outputs = []
    with full_precision(wx):
        for frame, reset_t, hold in zip(wx.unbind(1), resets, holds, strict=True):
            if reset_t is not None:
                state = tuple(s.masked_fill(reset_t[..., None], 0) for s in state)
            after = step(frame.to(b.dtype) + b, state)
            state = after if hold is None else tuple(torch.where(hold, s, a) for s, a in zip(state, after, strict=True))
            outputs.append(state[0])
    y = torch.stack(outputs, 1).to(y_dtype) if outputs else wx.new_zeros(batch, 0, heads, dim)
    return (y if lengths is None else y.masked_fill(past, 0)), state
