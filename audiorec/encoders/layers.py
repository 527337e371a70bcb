"""Parts that encoders of several kinds share."""

import torch
from torch import Tensor, nn

from audiorec.encoders.dropout import Dropout
from audiorec.streaming import Linear


class FeedForward(nn.Module):
    """``x + scale · W₂ activation(W₁ norm(x))``: pre-norm, residual, frame by frame; Conformers take two with scale ½."""

    def __init__(
        self,
        dim: int,
        expansion: int,
        dropout: float = 0.0,
        scale: float = 1.0,
        activation: type[nn.Module] = nn.SiLU,
        inner_dropout: float | None = None,
    ):
        super().__init__()
        self.scale = scale
        self.net = nn.Sequential(
            nn.LayerNorm(dim),
            Linear(dim, expansion * dim),
            activation(),
            Dropout(dropout if inner_dropout is None else inner_dropout),
            Linear(expansion * dim, dim),
            Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, self.net(x), alpha=self.scale)
