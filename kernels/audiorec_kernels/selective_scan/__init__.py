"""Mamba's selective scan with lengths and states first-class."""

from torch import Tensor

from audiorec_kernels.arguments import check
from audiorec_kernels.backends import choose

__all__ = ["selective_scan"]


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
    scan = choose(__name__, "selective_scan", u)
    return scan(u, dt, A, B, C, D, z, dt_bias, dt_softplus, initial_state, lengths, reset)
