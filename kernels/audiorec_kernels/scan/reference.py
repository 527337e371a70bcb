"""The definition of the first-order linear recurrence, in plain torch: frame by frame, no larger error than one frame's."""

import torch
from torch import Tensor


def linear_scan(
    a: Tensor, b: Tensor, initial_state: Tensor | None = None, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """h_t = a_t h_{t−1} + b_t; ``a`` and ``b`` (B, T, D), T ≥ 1, real; the state h (B, D) is zeros at the start.

    Returns y = h (B, T, D), zero past each row's length, and the state at each row's own length: a row of length 0 keeps
    its state bit for bit. What stands past a row's length reaches nothing. State and sum are float32 (float64) even
    where the inputs are narrower.
    """
    dtype = torch.promote_types(b.dtype, torch.float32)
    h = b.new_zeros(b.shape[0], b.shape[2], dtype=dtype) if initial_state is None else initial_state.to(dtype)
    if lengths is not None:
        padding = _padding(b, lengths)
        a, b = a.masked_fill(padding, 1), b.masked_fill(padding, 0)
    outputs = []
    for a_t, b_t in zip(a.to(dtype).unbind(1), b.to(dtype).unbind(1), strict=True):
        h = torch.addcmul(b_t, a_t, h)
        outputs.append(h)
    y = torch.stack(outputs, 1).to(b.dtype)
    return (y if lengths is None else y.masked_fill(padding, 0)), h


def log_linear_scan(
    log_a: Tensor, log_b: Tensor, initial_state: Tensor | None = None, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """h_t = exp(log_a_t) h_{t−1} + exp(log_b_t), summed in log space, for what would over- or underflow as a product.

    y and the state are h itself, never negative; the rest is as in ``linear_scan``.
    """
    dtype = torch.promote_types(log_b.dtype, torch.float32)
    h = log_b.new_zeros(log_b.shape[0], log_b.shape[2], dtype=dtype)
    h = h if initial_state is None else initial_state.to(dtype)
    # The log of 0 has no gradient; that of the least positive number weighs nothing in any sum.
    log_h = h.clamp(min=torch.finfo(dtype).tiny).log()
    if lengths is not None:
        padding = _padding(log_b, lengths)
        log_a, log_b = log_a.masked_fill(padding, 0), log_b.masked_fill(padding, -torch.inf)
    outputs = []
    for log_a_t, log_b_t in zip(log_a.to(dtype).unbind(1), log_b.to(dtype).unbind(1), strict=True):
        log_h = torch.logaddexp(log_a_t + log_h, log_b_t)
        outputs.append(log_h)
    y = torch.stack(outputs, 1).exp().to(log_b.dtype)
    if lengths is None:
        return y, log_h.exp()
    return y.masked_fill(padding, 0), torch.where(lengths[:, None] > 0, log_h.exp(), h)


def _padding(x: Tensor, lengths: Tensor) -> Tensor:
    """(B, T, 1) bool: true past each row's length."""
    return (torch.arange(x.shape[1], device=x.device) >= lengths[:, None])[..., None]
