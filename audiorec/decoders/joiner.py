"""The joiner: an encoder frame and a predictor's output → logits of the next symbol."""

from torch import Tensor, nn

from audiorec.streaming import Linear


class Joiner(nn.Module):
    """output(activation(encoder_proj(encoder) + predictor_proj(predictor))).

    The caller applies the two projections, once for each frame and once for each history. The losses call all four parts.
    """

    def __init__(self, encoder_dim: int, predictor_dim: int, dim: int, outputs: int):
        super().__init__()
        self.encoder_proj = Linear(encoder_dim, dim)
        self.predictor_proj = Linear(predictor_dim, dim)
        self.output = Linear(dim, outputs)

    @staticmethod
    def activation(x: Tensor) -> Tensor:
        """Of the sum of the two projections, in its place."""
        return x.tanh_()

    def forward(self, frames: Tensor, histories: Tensor) -> Tensor:
        """Logits (…, outputs) of projected frames and projected histories (…, dim), which broadcast."""
        return self.output(self.activation(frames + histories))
