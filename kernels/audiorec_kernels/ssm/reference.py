"""The definition of the selective scan, in plain torch: a loop over time."""

import torch
import torch.nn.functional as F
from torch import Tensor

from audiorec_kernels.arguments import frames_of, padding
from audiorec_kernels.precision import full_precision


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
    y_dtype, dtype = u.dtype, torch.promote_types(u.dtype, torch.float32)
    resets = frames_of(reset, lengths, u)
    past = None
    if lengths is not None:
        past = padding(u, lengths)[..., None]
        u, dt, B, C = (x.masked_fill(past, 0) for x in (u, dt, B, C))
        z = None if z is None else z.masked_fill(past, 0)
    u, dt, A, B, C = (x.to(dtype) for x in (u, dt, A, B, C))
    if dt_bias is not None:
        dt = dt + dt_bias.to(dtype)
    if dt_softplus:
        dt = F.softplus(dt)
    if past is not None:
        dt = dt.masked_fill(past, 0)  # a step of no time: exp(0) h + 0 holds the state exactly
    h = u.new_zeros(u.shape[0], *A.shape) if initial_state is None else initial_state.to(dtype)
    outputs = []
    with full_precision(u):
        # exp(dt A) is computed frame by frame: of all frames it would be N times the size of every other tensor.
        frames = dt.unbind(1), (dt * u).unbind(1), B.unbind(1), C.unbind(1), resets
        for dt_t, x_t, B_t, C_t, reset_t in zip(*frames, strict=True):
            h = h if reset_t is None else h.masked_fill(reset_t[..., None], 0)
            h = torch.exp(dt_t[..., None] * A) * h + x_t[..., None] * B_t[:, None]
            outputs.append((h @ C_t[..., None])[..., 0])
    y = torch.stack(outputs, 1) if outputs else torch.zeros_like(u)
    if D is not None:
        y = y + D.to(dtype) * u
    if z is not None:
        y = y * F.silu(z.to(dtype))
    return y.to(y_dtype), h


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
    u, dt, B, C, z = (None if x is None else x[:, None] for x in (u, dt, B, C, z))
    y, h = selective_scan(u, dt, A, B, C, D, z, dt_bias, dt_softplus, initial_state, None, None)
    return y[:, 0], h
