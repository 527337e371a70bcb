"""Parts that encoders of several kinds share."""

import torch
from torch import Tensor, nn

from audiorec.encoders.dropout import Dropout
from audiorec.streaming import Linear


def taps(frames: Tensor, kernel: int, stride: int = 1) -> list[Tensor]:
    """What each tap of a convolution over time sees of frames (B, T, C): ``kernel`` times (B, (T − kernel) // stride + 1, C).

    onnxruntime computes products and sums of these faster than its convolutions of one dimension.
    """
    count = frames.shape[1] - kernel + 1
    return [frames[:, tap : tap + count : stride] for tap in range(kernel)]


def depthwise_of_taps(frames: Tensor, conv: nn.Conv1d) -> Tensor:
    """``conv``, each channel alone, of frames (B, T, C) by ``taps``."""
    assert conv.bias is not None
    y = conv.bias
    seen = taps(frames, conv.kernel_size[0], conv.stride[0])
    for frame, weight in zip(seen, conv.weight[:, 0].unbind(1), strict=True):
        y = y + frame * weight
    return y


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
