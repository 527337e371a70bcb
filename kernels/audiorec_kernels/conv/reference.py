"""The definition of the causal depthwise convolution, in plain torch."""

import torch
import torch.nn.functional as F
from torch import Tensor

from audiorec_kernels.arguments import padding


def causal_conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    activation: str | None,
    initial_state: Tensor | None,
    lengths: Tensor | None,
    reset: Tensor | None,
) -> tuple[Tensor, Tensor]:
    (batch, time, dim), left = x.shape, weight.shape[1] - 1
    dtype = torch.promote_types(x.dtype, torch.float32)
    if initial_state is None:
        initial_state = x.new_zeros(batch, left, dim, dtype=dtype)
    past = None
    if lengths is not None:
        past = padding(x, lengths)
        x = x.masked_fill(past[..., None], 0)
    frames = torch.cat([initial_state.to(dtype), x.to(dtype)], 1)
    spans = None if reset is None else _spans(reset, past, left)
    y = frames.new_zeros(dim) if bias is None else bias.to(dtype)
    # A sum of shifted products: on a CPU four times as fast as conv1d for one frame, twice for a batch and its backward.
    for j, tap in enumerate(weight.to(dtype).unbind(1)):
        seen = frames[:, j : j + time]
        if spans is not None:
            seen = seen.masked_fill((spans[:, j : j + time] != spans[:, left:])[..., None], 0)
        y = torch.addcmul(y, seen, tap)
    y = (F.silu(y) if activation else y).to(x.dtype)
    state = frames[:, time:]
    if lengths is not None and past is not None:
        y = y.masked_fill(past[..., None], 0)
        last = lengths[:, None] + torch.arange(left, device=x.device)
        state = frames.gather(1, last[..., None].expand(-1, -1, dim))
    if spans is not None:
        kept = spans[:, time:] if lengths is None else spans.gather(1, last)
        state = state.masked_fill((kept != spans[:, -1:])[..., None], 0)
    return y, state


def _spans(reset: Tensor, past: Tensor | None, left: int) -> Tensor:
    """(B, left + T): how many resets there were up to each frame, those of the state first."""
    return F.pad((reset if past is None else reset & ~past).cumsum(1), (left, 0))
