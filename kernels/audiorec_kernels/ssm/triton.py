"""The selective scan on an NVIDIA GPU: triton_kernels.py as an operator."""

import torch
import triton
from torch import Tensor

from audiorec_kernels.arguments import dense
from audiorec_kernels.launch import launch
from audiorec_kernels.operator import Operator
from audiorec_kernels.ssm.triton_kernels import backward_kernel, forward_kernel

# Both walk through the same tiles of CHUNKS · STEPS frames: the backward begins each with the states that the forward left.
_FORWARD = {"CHUNKS": 8, "STEPS": 4, "BLOCK": 16, "num_warps": 1}
_BACKWARD = {"CHUNKS": 16, "STEPS": 2, "BLOCK": 32, "num_warps": 4}
_FRAMES = _FORWARD["CHUNKS"] * _FORWARD["STEPS"]


def selective_scan(
    u: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    dt_bias: Tensor | None,
    dt_softplus: bool,
    initial_state: Tensor | None,
    lengths: Tensor | None,
    reset: Tensor | None,
) -> tuple[Tensor, Tensor]:
    over_time = u.contiguous(), dt.contiguous(), dense(A), B.contiguous(), C.contiguous()
    options = dense(D), None if z is None else z.contiguous(), dense(dt_bias), dense(initial_state)
    y, last, _ = _OPERATOR(*over_time, *options, dense(lengths, torch.int64), dense(reset, torch.uint8), dt_softplus)
    return y, last


def _outputs(u: Tensor, dt: Tensor, A: Tensor, *_) -> tuple[Tensor, Tensor, Tensor]:
    """y, the last state, and the states (B, tiles, N, D) that each tile begins with."""
    (rows, time, dim), states = u.shape, A.shape[1]
    starts = A.new_empty(rows, (time + _FRAMES - 1) // _FRAMES, states, dim)
    return torch.empty_like(u), A.new_empty(rows, dim, states), starts


def _forward(
    u: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    dt_bias: Tensor | None,
    initial: Tensor | None,
    lengths: Tensor | None,
    reset: Tensor | None,
    softplus: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    inputs = u, dt, A, B, C, D, z, dt_bias, initial, lengths, reset
    outputs = _outputs(*inputs)
    inputs = *inputs[:3], _by_state(B), _by_state(C), *inputs[5:]
    (rows, time, dim), states = u.shape, A.shape[1]
    sizes = {"N": states, "STATES": triton.next_power_of_2(states), "SOFTPLUS": softplus}
    grid = rows, triton.cdiv(dim, _FORWARD["BLOCK"])
    launch(forward_kernel, grid, *inputs, *outputs, time, dim, **sizes, **_FORWARD)
    return outputs


def _by_state(x: Tensor) -> Tensor:
    """(B, T, N) → (B, N, T): the kernels read one state's frames at a time."""
    return x.mT.contiguous()


def _gradients(dy: Tensor, dlast: Tensor, dstarts: Tensor, *inputs) -> tuple[Tensor, ...]:
    u, dt, A, B, C, _, z, *_ = inputs
    over_time = map(torch.empty_like, (u, dt, A, B, C))
    channels, last = A.new_empty(len(A)), torch.empty_like(dlast)
    return *over_time, channels, torch.empty_like(u if z is None else z), torch.empty_like(channels), last


def _backward(
    dy: Tensor,
    dlast: Tensor,
    dstarts: Tensor,
    u: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    dt_bias: Tensor | None,
    lengths: Tensor | None,
    reset: Tensor | None,
    starts: Tensor,
    softplus: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    (rows, time, dim), states = u.shape, A.shape[1]
    grid = rows, triton.cdiv(dim, _BACKWARD["BLOCK"])
    du, ddt, dz, dinitial = map(torch.empty_like, (u, dt, u, dlast))
    dA = A.new_empty(rows, dim, states)
    dB, dC = A.new_empty(2, grid[1], rows, states, time)
    dD, dbias = A.new_empty(2, rows, dim)
    inputs = u, dt, A, _by_state(B), _by_state(C), D, z, dt_bias, lengths, reset, starts, dy, dlast
    outputs = du, ddt, dA, dB, dC, dD, dz, dbias, dinitial
    sizes = {"N": states, "STATES": triton.next_power_of_2(states), "SOFTPLUS": softplus}
    launch(backward_kernel, grid, *inputs, *outputs, time, dim, **sizes, **_BACKWARD)
    dB, dC = (part.sum(0).mT.to(like.dtype).contiguous() for part, like in ((dB, B), (dC, C)))
    return du, ddt, dA.sum(0), dB, dC, dD.sum(0), dz, dbias.sum(0), dinitial


def _keep(inputs: tuple, outputs: tuple) -> tuple:
    (*tensors, _, lengths, reset, softplus), (_, _, starts) = inputs, outputs
    return *tensors, lengths, reset, starts, softplus


_OPERATOR = Operator("selective_scan_triton", _forward, _outputs, _keep, _backward, _gradients)
