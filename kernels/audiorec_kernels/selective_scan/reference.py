"""The definition of the selective scan, in plain torch: a loop over time."""

import torch
import torch.nn.functional as F
from torch import Tensor

from audiorec_kernels.precision import full_precision


def selective_scan(
    u: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    dt_bias: Tensor | None = None,
    dt_softplus: bool = True,
    initial_state: Tensor | None = None,
    lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """S6 (Gu and Dao 2023, algorithm 2): h_t = exp(dt_t A) h_{t−1} + dt_t B_t u_t, y_t = C_t h_t + D u_t, times SiLU(z_t).

    ``u``, ``dt``, ``z`` (B, T, D), T ≥ 1; ``A`` (D, N), real and negative; ``B``, ``C`` (B, T, N); ``D``, ``dt_bias`` (D,).
    The step is softplus(dt + dt_bias), or dt + dt_bias as it stands without ``dt_softplus``.

    Returns y (B, T, D) in u's dtype, zero past each row's length, and the state (B, D, N) at each row's own length: a
    row of length 0 keeps its state. The scan runs in float32, or in float64 for float64 inputs, autocast or not. What the
    inputs hold past a row's length reaches nothing.
    """
    given, dtype = u.dtype, torch.promote_types(u.dtype, torch.float32)
    padding = None
    if lengths is not None:
        padding = (torch.arange(u.shape[1], device=u.device) >= lengths[:, None])[..., None]
        u, dt, B, C = (x.masked_fill(padding, 0) for x in (u, dt, B, C))
        z = None if z is None else z.masked_fill(padding, 0)
    u, dt, A, B, C = (x.to(dtype) for x in (u, dt, A, B, C))
    if dt_bias is not None:
        dt = dt + dt_bias.to(dtype)
    if dt_softplus:
        dt = F.softplus(dt)
    if padding is not None:
        dt = dt.masked_fill(padding, 0)  # a step of no time: exp(0) h + 0 holds the state exactly
    h = u.new_zeros(u.shape[0], *A.shape) if initial_state is None else initial_state.to(dtype)
    outputs = []
    with full_precision(u):
        # exp(dt A) is made frame by frame: for all frames at once it would be N times the size of every other tensor.
        for dt_t, x_t, B_t, C_t in zip(dt.unbind(1), (dt * u).unbind(1), B.unbind(1), C.unbind(1), strict=True):
            h = torch.exp(dt_t[..., None] * A) * h + x_t[..., None] * B_t[:, None]
            outputs.append((h @ C_t[..., None])[..., 0])
    y = torch.stack(outputs, 1)
    if D is not None:
        y = y + D.to(dtype) * u
    if z is not None:
        y = y * F.silu(z.to(dtype))
    return y.to(given), h
