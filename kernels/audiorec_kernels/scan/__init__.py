"""First-order linear recurrences with lengths and states first-class."""

import torch
from torch import Tensor

from audiorec_kernels.arguments import check
from audiorec_kernels.backends import choose, prepare

__all__ = ["linear_scan", "linear_scan_step", "log_linear_scan"]


def linear_scan(
    a: Tensor,
    b: Tensor,
    initial_state: Tensor | None = None,
    lengths: Tensor | None = None,
    reset: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """h_t = a_t h_{t−1} + b_t; ``a`` and ``b`` (B, T, D), real; the state h (B, D) is zeros at the start.

    Where ``reset`` (B, T), bool, is true, the state before that frame is zero. Returns y = h (B, T, D), zero past each
    row's length, and the state at each row's own length: a row of length 0 keeps its state bit for bit. What stands past a
    row's length reaches nothing. State and sum are float32 (float64) even where the inputs are narrower.

    Raises ValueError where arguments disagree.
    """
    check("linear_scan", lengths, reset, a=(a, "BTD"), b=(b, "BTD"), initial_state=(initial_state, "BD"))
    return choose(__name__, "linear_scan", b)(a, b, initial_state, lengths, reset)


def linear_scan_step(a: Tensor, b: Tensor, h: Tensor, out: Tensor | None = None) -> Tensor:
    """One frame of ``linear_scan``: a h + b, all (B, D), into ``out`` where it is given, which may be ``h`` itself.

    torch's operator: a call into the native library takes longer.
    """
    return torch.addcmul(b, a, h, out=out)


def log_linear_scan(
    log_a: Tensor,
    log_b: Tensor,
    initial_state: Tensor | None = None,
    lengths: Tensor | None = None,
    reset: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """h_t = exp(log_a_t) h_{t−1} + exp(log_b_t), for what would over- or underflow as a product.

    y and the state are h itself, never negative; the rest is as in ``linear_scan``.
    """
    check(
        "log_linear_scan",
        lengths,
        reset,
        log_a=(log_a, "BTD"),
        log_b=(log_b, "BTD"),
        initial_state=(initial_state, "BD"),
    )
    return choose(__name__, "log_linear_scan", log_b)(log_a, log_b, initial_state, lengths, reset)


prepare(__name__, "linear_scan", "log_linear_scan")
