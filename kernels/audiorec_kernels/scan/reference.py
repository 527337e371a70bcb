"""The definition of the first-order linear recurrence, in plain torch: frame by frame, no larger error than one frame's."""

import math

import torch
from torch import Tensor

from audiorec_kernels.arguments import frames_of, padding


def linear_scan(
    a: Tensor, b: Tensor, initial_state: Tensor | None, lengths: Tensor | None, reset: Tensor | None
) -> tuple[Tensor, Tensor]:
    dtype = torch.promote_types(b.dtype, torch.float32)
    h = b.new_zeros(b.shape[0], b.shape[2], dtype=dtype) if initial_state is None else initial_state.to(dtype)
    resets = frames_of(reset, lengths, b)
    if lengths is not None:
        past = padding(b, lengths)[..., None]
        a, b = a.masked_fill(past, 1), b.masked_fill(past, 0)
    outputs = []
    for a_t, b_t, reset_t in zip(a.to(dtype).unbind(1), b.to(dtype).unbind(1), resets, strict=True):
        h = h if reset_t is None else h.masked_fill(reset_t, 0)
        h = torch.addcmul(b_t, a_t, h)
        outputs.append(h)
    y = torch.stack(outputs, 1).to(b.dtype) if outputs else torch.zeros_like(b)
    return (y if lengths is None else y.masked_fill(past, 0)), h


def log_linear_scan(
    log_a: Tensor, log_b: Tensor, initial_state: Tensor | None, lengths: Tensor | None, reset: Tensor | None
) -> tuple[Tensor, Tensor]:
    dtype = torch.promote_types(log_b.dtype, torch.float32)
    h = log_b.new_zeros(log_b.shape[0], log_b.shape[2], dtype=dtype)
    h = h if initial_state is None else initial_state.to(dtype)
    # The log of 0 has no gradient; that of the smallest positive number adds nothing to any sum.
    tiny = torch.finfo(dtype).tiny
    log_h, log_tiny = h.clamp(min=tiny).log(), math.log(tiny)
    resets = frames_of(reset, lengths, log_b)
    if lengths is not None:
        past = padding(log_b, lengths)[..., None]
        log_a, log_b = log_a.masked_fill(past, 0), log_b.masked_fill(past, -torch.inf)
    outputs = []
    for log_a_t, log_b_t, reset_t in zip(log_a.to(dtype).unbind(1), log_b.to(dtype).unbind(1), resets, strict=True):
        log_h = log_h if reset_t is None else log_h.masked_fill(reset_t, log_tiny)
        log_h = torch.logaddexp(log_a_t + log_h, log_b_t)
        outputs.append(log_h)
    y = torch.stack(outputs, 1).exp().to(log_b.dtype) if outputs else torch.zeros_like(log_b)
    if lengths is None:
        return y, (log_h.exp() if outputs else h)
    return y.masked_fill(past, 0), torch.where(lengths[:, None] > 0, log_h.exp(), h)
