"""The selective scan on a CPU: csrc/selective_scan.cpp and csrc/selective_scan_backward.cpp."""

import torch
from torch import Tensor

from audiorec_kernels.arguments import dense
from audiorec_kernels.native import kernel, threads
from audiorec_kernels.operator import Operator

_LANES = 16  # channels of a tile, as in csrc/selective_scan.h
_CHUNK = 32  # frames; the backward pass gets the state before each such chunk, and computes those within it again
_BLOCK = 128  # channels whose gradients to B and C are summed together

_scan = kernel("selective_scan", sizes=8, tensors=14)
_scan_backward = kernel("selective_scan_backward", sizes=9, tensors=23)


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
    # Half of a projection, as Mamba's z is, is read where it stands.
    gate = z.float() if z is not None and z.stride(2) == 1 else dense(z)
    inputs = *map(dense, (u, dt, A, B, C, D)), gate, dense(dt_bias), dense(initial_state)
    keep = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in inputs)
    y, h, _ = _SCAN(*inputs, dense(lengths, torch.int64), dense(reset, torch.bool), dt_softplus, keep)
    return y.to(u.dtype), h


def selective_scan_step(
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
) -> tuple[Tensor, Tensor]:
    (batch, dim), states = u.shape, A.shape[1]
    y, h = u.new_empty(batch, dim), u.new_empty(batch, dim, states)
    gate = z if z is None or z.stride(1) == 1 else z.contiguous()
    inputs = *map(dense, (u, dt, A, B, C, D)), gate, dense(dt_bias), dense(initial_state)
    sizes = batch, 1, dim, states, dt_softplus, _CHUNK, dim if gate is None else gate.stride(0), dim
    _scan(*sizes, *inputs, None, None, y, h, None, threads(h.numel()))
    return y, h


def _outputs(*inputs) -> tuple[Tensor, Tensor, Tensor]:
    u, _, A, *_, keep = inputs
    batch, time, dim = u.shape
    chunks = _parts(time, _CHUNK) if keep else 0
    starts = u.new_empty(batch, _parts(dim, _LANES), chunks, A.shape[1], _LANES)
    return torch.empty_like(u), u.new_empty(batch, *A.shape), starts


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
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    inputs = u, dt, A, B, C, D, z, dt_bias, initial, lengths, reset
    y, h, starts = _outputs(*inputs, softplus, keep)
    _scan(*_sizes(u, A, z, softplus), *inputs, y, h, starts if keep else None, threads(u.numel() * A.shape[1]))
    return y, h, starts


def _gradients(grad_y: Tensor, grad_h: Tensor, grad_starts: Tensor, starts: Tensor, *inputs) -> tuple[Tensor, ...]:
    """Of u, dt, A, B, C, D, z, dt_bias and the state, uninitialised."""
    u, dt, A, B, C, _, z, *_ = inputs
    of_z, of_D, of_bias = u.new_empty(0 if z is None else z.shape), A.new_empty(A.shape[0]), A.new_empty(A.shape[0])
    return *map(torch.empty_like, (u, dt, A, B, C)), of_D, of_z, of_bias, A.new_empty(grad_h.shape)


def _backward(
    grad_y: Tensor,
    grad_h: Tensor,
    grad_starts: Tensor,
    starts: Tensor,
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
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    batch, blocks = u.shape[0], _parts(A.shape[0], _BLOCK)
    of_u, of_dt, *_, of_z, _, of_h = _gradients(grad_y, grad_h, grad_starts, starts, u, dt, A, B, C, D, z)
    # By row, and those to B and C by block of channels: each is written once and summed here, in one order.
    of_A, of_D, of_bias = (A.new_empty(batch, *size) for size in (A.shape, A.shape[:1], A.shape[:1]))
    of_B, of_C = (x.new_empty(blocks, *x.shape) for x in (B, C))
    inputs = u, dt, A, B, C, D, z, dt_bias, initial, lengths, reset, starts, grad_y, grad_h
    outputs = of_u, of_dt, of_A, of_B, of_C, of_D, of_z, of_bias, of_h
    _scan_backward(*_sizes(u, A, z, softplus), _BLOCK, *inputs, *outputs, threads(u.numel() * A.shape[1]))
    return of_u, of_dt, *(x.sum(0) for x in (of_A, of_B, of_C, of_D)), of_z, of_bias.sum(0), of_h


def _sizes(u: Tensor, A: Tensor, z: Tensor | None, softplus: bool) -> tuple[int, ...]:
    return *u.shape, A.shape[1], softplus, _CHUNK, *((0, 0) if z is None else z.stride()[:2])


def _parts(size: int, part: int) -> int:
    return (size + part - 1) // part


def _keep(inputs: tuple, outputs: tuple) -> tuple:
    *inputs, _ = inputs
    return outputs[2], *inputs


_SCAN = Operator("selective_scan", _forward, _outputs, _keep, _backward, _gradients)
