"""The joiner: an encoder frame and a predictor's output → scores of the next symbol."""

from torch import Tensor, nn


class Joiner(nn.Module):
    """output(tanh(encoder_proj(encoder) + predictor_proj(predictor))). The losses read the three layers themselves.

    The projections are for the caller to take once: of each frame, and of each history.
    """

    def __init__(self, encoder_dim: int, predictor_dim: int, dim: int, outputs: int):
        super().__init__()
        self.encoder_proj = nn.Linear(encoder_dim, dim)
        self.predictor_proj = nn.Linear(predictor_dim, dim)
        self.output = nn.Linear(dim, outputs)

    def forward(self, frames: Tensor, histories: Tensor) -> Tensor:
        """Logits (…, outputs) of projected frames and projected histories (…, dim), which broadcast."""
        return self.output((frames + histories).tanh_())
