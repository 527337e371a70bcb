"""The causal convolution on an NVIDIA GPU: a program makes a tile of frames and channels of one row, and owns it."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from audiorec_kernels.arguments import dense
from audiorec_kernels.launch import launch
from audiorec_kernels.operator import Operator

_TILE = {"FRAMES": 64, "BLOCK": 64, "num_warps": 4}
_BACKWARD_TILE = {**_TILE, "FRAMES": 32}


def causal_conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    activation: str | None,
    initial_state: Tensor | None,
    lengths: Tensor | None,
    reset: Tensor | None,
) -> tuple[Tensor, Tensor]:
    left = weight.shape[1] - 1
    if initial_state is None:
        initial_state = x.new_zeros(x.shape[0], left, x.shape[2], dtype=torch.float32)
    silu, age = activation == "silu", _age(reset, left)
    inputs = x.contiguous(), dense(weight), dense(bias), dense(initial_state), dense(lengths, torch.int64), age, silu
    return _OPERATOR(*inputs)


def _age(reset: Tensor | None, left: int) -> Tensor | None:
    """(B, T + 1) int32: how many of the frames before each frame it may see; at T, what comes after the last may."""
    if reset is None:
        return None
    frame = torch.arange(reset.shape[1] + 1, device=reset.device, dtype=torch.int32)
    begun = torch.nn.functional.pad(torch.where(reset, frame[:-1], -left), (0, 1), value=-left)
    return frame - begun.cummax(1).values.to(torch.int32)


def _outputs(x: Tensor, weight: Tensor, bias: Tensor | None, initial: Tensor, *_) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(initial)


def _forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    initial: Tensor,
    lengths: Tensor | None,
    age: Tensor | None,
    silu: bool,
) -> tuple[Tensor, Tensor]:
    y, last = _outputs(x, weight, bias, initial)
    rows, time, dim = x.shape
    # One tile more than the frames fill: the state at their end may lie in it.
    grid = rows, triton.cdiv(time + 1, _TILE["FRAMES"]), triton.cdiv(dim, _TILE["BLOCK"])
    tensors = x, weight, bias, initial, lengths, age, y, last
    launch(_forward_kernel, grid, *tensors, time, dim, K=weight.shape[1], SILU=silu, **_TILE)
    return y, last


def _gradients(dy: Tensor, dlast: Tensor, *inputs) -> tuple[Tensor, ...]:
    x, weight, _, initial, *_ = inputs
    return torch.empty_like(x), torch.empty_like(weight), weight.new_empty(len(weight)), torch.empty_like(initial)


def _backward(
    dy: Tensor,
    dlast: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    initial: Tensor,
    lengths: Tensor | None,
    age: Tensor | None,
    silu: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rows, time, dim = x.shape
    taps, left = weight.shape[1], weight.shape[1] - 1
    dx, dinitial = torch.empty_like(x), torch.empty_like(initial)
    # The frames of the initial state come before frame 0: tiles begin there.
    tiles = triton.cdiv(time + left, _BACKWARD_TILE["FRAMES"])
    dweight, dbias = weight.new_empty(rows, tiles, taps, dim), weight.new_empty(rows, tiles, dim)
    tensors = x, weight, bias, initial, lengths, age, dy, dlast, dx, dweight, dbias, dinitial
    grid = rows, tiles, triton.cdiv(dim, _BACKWARD_TILE["BLOCK"])
    launch(_backward_kernel, grid, *tensors, time, dim, K=taps, SILU=silu, **_BACKWARD_TILE)
    return dx, dweight.sum((0, 1)).T.contiguous(), dbias.sum((0, 1)), dinitial


def _keep(inputs: tuple, outputs: tuple) -> tuple:
    return inputs


_OPERATOR = Operator("causal_conv1d_triton", _forward, _outputs, _keep, _backward, _gradients)


@triton.jit
def _frames(x_ptr, initial_ptr, row, t, d, time, dim, length, K: tl.constexpr):
    """Frames t of x before a row's end, of its initial state where t is negative, and else zeros."""
    mask, frame = d < dim, row * time + t
    x = tl.load(x_ptr + frame * dim + d, (t >= 0) & (t < length) & mask, 0.0).to(tl.float32)
    before = (t < 0) & (t >= 1 - K)
    return x + tl.load(initial_ptr + (row * (K - 1) + t + K - 1) * dim + d, before & mask, 0.0)


@triton.jit
def _before_activation(
    x_ptr, weight_ptr, bias_ptr, initial_ptr, age_ptr, row, t, d, time, dim, length, K: tl.constexpr
):  # fmt: skip
    y = tl.zeros((t.shape[0], d.shape[1]), tl.float32)
    if bias_ptr is not None:
        y += tl.load(bias_ptr + d, d < dim, 0.0)
    age = tl.full(t.shape, K, tl.int32)
    if age_ptr is not None:
        age = tl.load(age_ptr + row * (time + 1) + t, (t >= 0) & (t < length), 0)
    for lag in tl.static_range(K):
        x = _frames(x_ptr, initial_ptr, row, t - lag, d, time, dim, length, K)
        y += tl.where(lag <= age, x, 0.0) * tl.load(weight_ptr + d * K + K - 1 - lag, d < dim, 0.0)
    return y


@triton.jit
def _forward_kernel(
    x_ptr, weight_ptr, bias_ptr, initial_ptr, lengths_ptr, age_ptr, y_ptr, last_ptr, time, dim,
    K: tl.constexpr, SILU: tl.constexpr, FRAMES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    t = tl.program_id(1) * FRAMES + tl.arange(0, FRAMES)[:, None]
    d = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)[None, :]
    length = time if lengths_ptr is None else tl.minimum(tl.load(lengths_ptr + row), time).to(tl.int32)
    y = _before_activation(x_ptr, weight_ptr, bias_ptr, initial_ptr, age_ptr, row, t, d, time, dim, length, K)
    if SILU:
        y *= tl.sigmoid(y)
    tl.store(y_ptr + (row * time + t) * dim + d, tl.where(t < length, y, 0.0), (t < time) & (d < dim))
    # Frame `length`, which is not there, would see the state: its program writes it.
    begin = tl.program_id(1) * FRAMES
    if (begin <= length) & (length < begin + FRAMES):
        age = K
        if age_ptr is not None:
            # A frame that does not begin anew itself sees what the one before it does, and that frame.
            age = tl.where(length > 0, tl.load(age_ptr + row * (time + 1) + length - 1, length > 0, 0) + 1, K)
        for lag in tl.static_range(1, K):
            x = _frames(x_ptr, initial_ptr, row, length - lag, d, time, dim, length, K)
            tl.store(last_ptr + (row * (K - 1) + K - 1 - lag) * dim + d, tl.where(lag <= age, x, 0.0), d < dim)


@triton.jit
def _backward_kernel(
    x_ptr, weight_ptr, bias_ptr, initial_ptr, lengths_ptr, age_ptr, dy_ptr, dlast_ptr,
    dx_ptr, dweight_ptr, dbias_ptr, dinitial_ptr, time, dim,
    K: tl.constexpr, SILU: tl.constexpr, FRAMES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A tile of inputs gathers from the K outputs that each of them reached; those are computed again for SiLU's slope."""
    row = tl.program_id(0).to(tl.int64)
    t = tl.program_id(1) * FRAMES + tl.arange(0, FRAMES)[:, None] - (K - 1)
    d = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)[None, :]
    mask = d < dim
    length = time if lengths_ptr is None else tl.minimum(tl.load(lengths_ptr + row), time).to(tl.int32)
    x = _frames(x_ptr, initial_ptr, row, t, d, time, dim, length, K)
    dx = tl.zeros((FRAMES, BLOCK), tl.float32)
    part = row * tl.num_programs(1) + tl.program_id(1)
    for lag in tl.static_range(K):
        out = t + lag
        valid = (out >= 0) & (out < length)
        dy = tl.load(dy_ptr + (row * time + out) * dim + d, valid & mask, 0.0).to(tl.float32)
        if SILU:
            y = _before_activation(x_ptr, weight_ptr, bias_ptr, initial_ptr, age_ptr, row, out, d, time, dim, length, K)
            gate = tl.sigmoid(y)
            dy *= gate * (1 + y * (1 - gate))
        if lag == 0:
            tl.store(dbias_ptr + part * dim + d, tl.sum(dy, 0)[None, :], mask)
        if age_ptr is not None:
            dy = tl.where(lag <= tl.load(age_ptr + row * (time + 1) + out, valid, 0), dy, 0.0)
        tap = K - 1 - lag
        dx += dy * tl.load(weight_ptr + d * K + tap, mask, 0.0)
        tl.store(dweight_ptr + (part * K + tap) * dim + d, tl.sum(dy * x, 0)[None, :], mask)
    # The state holds the last K − 1 frames, those of the initial state too where a row is shorter.
    place = t - length + K - 1
    kept = (place >= 0) & (t < length)
    if age_ptr is not None:
        age = tl.where(length > 0, tl.load(age_ptr + row * (time + 1) + length - 1, length > 0, 0) + 1, K)
        kept = kept & (length - t <= age)
    dx += tl.load(dlast_ptr + (row * (K - 1) + place) * dim + d, kept & mask, 0.0)
    tl.store(dx_ptr + (row * time + t) * dim + d, tl.where(t < length, dx, 0.0), (t >= 0) & (t < time) & mask)
    tl.store(dinitial_ptr + (row * (K - 1) + t + K - 1) * dim + d, dx, (t < 0) & mask)
