"""Causal depthwise convolution with lengths and states first-class."""

from torch import Tensor

from audiorec_kernels.arguments import check
from audiorec_kernels.backends import choose

__all__ = ["causal_conv1d"]


def causal_conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
    initial_state: Tensor | None = None,
    lengths: Tensor | None = None,
    reset: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """y_t = activation(bias + Σ_j weight_j x_{t−k+1+j}), each channel alone; ``x`` (B, T, D), ``weight`` (D, k).

    The state (B, k − 1, D), float32, is the frames before the next one: zeros at the start, and before a frame at which
    ``reset`` (B, T), bool, is true. ``activation`` is None or "silu". Returns y (B, T, D), zero past each row's length,
    and the state at each row's own length: a row of length 0 keeps its state bit for bit. What ``x`` holds past a row's
    length reaches nothing.

    Raises ValueError where arguments disagree.
    """
    if activation not in (None, "silu"):
        raise ValueError(f"causal_conv1d: activation must be None or 'silu', got {activation!r}")
    state = initial_state, ("B", weight.shape[-1] - 1, "D")
    check("causal_conv1d", lengths, reset, x=(x, "BTD"), weight=(weight, "DK"), bias=(bias, "D"), initial_state=state)
    return choose(__name__, "causal_conv1d", x)(x, weight, bias, activation, initial_state, lengths, reset)
