"""The joiner: an encoder frame and a predictor's output → logits of the next symbol."""

from typing import Literal, get_args

from torch import Tensor, nn

from audiorec.streaming import Linear

Activation = Literal["tanh", "relu"]  # icefall's and NeMo's


class Joiner(nn.Module):
    """output(activation(encoder_proj(encoder) + predictor_proj(predictor))).

    The caller applies the two projections, once for each frame and once for each history. The losses call all four parts.
    """

    def __init__(self, encoder_dim: int, predictor_dim: int, dim: int, outputs: int, activation: Activation = "tanh"):
        super().__init__()
        if activation not in get_args(Activation):
            raise ValueError(f"Joiner: activation must be {' or '.join(get_args(Activation))}, got {activation!r}")
        self.kind = activation
        self.encoder_proj = Linear(encoder_dim, dim)
        self.predictor_proj = Linear(predictor_dim, dim)
        self.output = Linear(dim, outputs)

    def activation(self, x: Tensor) -> Tensor:
        """Of the sum of the two projections, in its place."""
        return x.tanh_() if self.kind == "tanh" else x.relu_()

    def forward(self, frames: Tensor, histories: Tensor) -> Tensor:
        """Logits (…, outputs) of projected frames and projected histories (…, dim), which broadcast."""
        return self.output(self.activation(frames + histories))
