"""The definition of the causal depthwise convolution, in plain torch."""

import torch
import torch.nn.functional as F
from torch import Tensor

_ACTIVATIONS = {None: lambda y: y, "silu": F.silu}


def causal_conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
    initial_state: Tensor | None = None,
    lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """y_t = activation(bias + Σ_i weight_i x_{t−k+1+i}), each channel alone: ``x`` (B, T, D), T ≥ 1; ``weight`` (D, k).

    The state (B, k − 1, D) is the frames before the next one, zeros at the start. Returns y (B, T, D), zero past each
    row's length, and the state at each row's own length. ``activation`` is None or "silu". What ``x`` holds past a row's
    length reaches nothing.
    """
    time, kept = x.shape[1], weight.shape[1] - 1
    if activation not in _ACTIVATIONS:
        raise ValueError(f"causal_conv1d: activation must be None or 'silu', got {activation!r}")
    if initial_state is None:
        initial_state = x.new_zeros(x.shape[0], kept, x.shape[2], dtype=torch.promote_types(x.dtype, torch.float32))
    padding = None if lengths is None else (torch.arange(time, device=x.device) >= lengths[:, None])[..., None]
    if padding is not None:
        x = x.masked_fill(padding, 0)
    frames = torch.cat([initial_state, x.to(initial_state.dtype)], 1)
    y = F.conv1d(
        frames.to(x.dtype).transpose(1, 2),
        weight[:, None].to(x.dtype),
        None if bias is None else bias.to(x.dtype),
        groups=x.shape[2],
    )
    y = _ACTIVATIONS[activation](y.transpose(1, 2)).to(x.dtype)
    if padding is None or lengths is None:
        return y, frames[:, time:]
    last = lengths[:, None] + torch.arange(kept, device=x.device)
    return y.masked_fill(padding, 0), frames.gather(1, last[..., None].expand(-1, -1, x.shape[2]))
