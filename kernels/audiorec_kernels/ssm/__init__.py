"""Mamba's selective scan with lengths and states first-class."""

import torch
from torch import Tensor

from audiorec_kernels.arguments import check
from audiorec_kernels.backends import choose, prepare, tracing_for_onnx
from audiorec_kernels.operator import watched
from audiorec_kernels.ssm import onnx

__all__ = ["selective_scan", "selective_scan_step"]


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
    reset: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """S6 (Gu and Dao 2023, algorithm 2): h_t = exp(dt_t A) h_{t−1} + dt_t B_t u_t, y_t = C_t h_t + D u_t, times SiLU(z_t).

    ``u``, ``dt``, ``z`` (B, T, D); ``A`` (D, N), real and negative; ``B``, ``C`` (B, T, N); ``D``, ``dt_bias`` (D,). The
    step is softplus(dt + dt_bias), or dt + dt_bias as it stands without ``dt_softplus``. Where ``reset`` (B, T), bool, is
    true, the state before that frame is zero.

    Returns y (B, T, D) in u's dtype, zero past each row's length, and the state (B, D, N) at each row's own length: a
    row of length 0 keeps its state bit for bit. The scan runs in float32, or in float64 for float64 inputs, autocast or
    not. What the inputs hold past a row's length reaches nothing.

    Raises ValueError where arguments disagree.
    """
    check(
        "selective_scan",
        lengths,
        reset,
        u=(u, "BTD"),
        dt=(dt, "BTD"),
        A=(A, "DN"),
        B=(B, "BTN"),
        C=(C, "BTN"),
        D=(D, "D"),
        z=(z, "BTD"),
        dt_bias=(dt_bias, "D"),
        initial_state=(initial_state, "BDN"),
    )
    if tracing_for_onnx() and initial_state is not None and reset is None:
        return onnx.selective_scan(u, dt, A, B, C, D, z, dt_bias, dt_softplus, initial_state, lengths)
    scan = choose(__name__, "selective_scan", u)
    return scan(u, dt, A, B, C, D, z, dt_bias, dt_softplus, initial_state, lengths, reset)


def selective_scan_step(
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
) -> tuple[Tensor, Tensor]:
    """One frame of ``selective_scan``: ``u``, ``dt``, ``z`` and y (B, D), ``B`` and ``C`` (B, N), the rest as there.

    Takes two thirds of the time of a call with T = 1 where no gradient is wanted and all is float32 on a CPU.
    """
    (batch, dim), states = u.shape, A.shape[-1]
    frames, wide, channels = (batch, dim), (batch, states), (dim,)
    shapes = frames, frames, (dim, states), wide, wide, channels, frames, channels, (batch, dim, states)
    inputs = u, dt, A, B, C, D, z, dt_bias, initial_state
    if not tracing_for_onnx() and not watched(inputs) and all(map(_plain, inputs, shapes)):
        return choose(__name__, "selective_scan_step", u)(u, dt, A, B, C, D, z, dt_bias, dt_softplus, initial_state)
    u, dt, B, C = (x[:, None] for x in (u, dt, B, C))
    z = None if z is None else z[:, None]
    y, h = selective_scan(u, dt, A, B, C, D, z, dt_bias, dt_softplus, initial_state)
    return y[:, 0], h


def _plain(x: Tensor | None, shape: tuple[int, ...]) -> bool:
    return x is None or (x.shape == shape and x.dtype is torch.float32 and x.is_cpu)


prepare(__name__, "selective_scan", "selective_scan_step")
