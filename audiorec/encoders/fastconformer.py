"""The FastConformer encoder, as NVIDIA's cache-aware streaming checkpoints have it."""

import math
from typing import Literal

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from audiorec.encoders.attention import Context
from audiorec.encoders.conformer import ConformerConfig, ConformerEncoder
from audiorec.encoders.positions import Positions
from audiorec.encoders.registry import ENCODERS
from audiorec.encoders.subsampling import Lead, StridedConv2d
from audiorec.streaming import Linear, Pointwise, Sequential, StreamingModule


class FastConformerConfig(ConformerConfig):
    kind: Literal["fastconformer"] = "fastconformer"  # type: ignore[assignment]
    dim: PositiveInt = Field(512, description="width of every layer")
    layers: PositiveInt = Field(17, description="their number")
    heads: PositiveInt = Field(8, description="of attention; each takes dim / heads channels, an even number")
    positions: Positions = Field("relative", description="rotary, or relative as in Transformer-XL")
    strides: list[PositiveInt] = Field([2, 2, 2], description="of the convolutions; their product is the subsampling")
    kernel: PositiveInt = Field(3, description="frames seen by each convolution, at least its stride")
    planes: PositiveInt = Field(256, description="of the convolutions, which go over time and frequency")  # type: ignore[assignment]
    scale_input: bool = Field(
        False, description="multiply what the layers read by the square root of dim (NeMo: xscaling)"
    )
    contexts: list[Context] = Field(
        [Context(left=70, chunk=14), Context(left=70, chunk=7), Context(left=70, chunk=2), Context(left=70)],
        min_length=1,
        description="what attention may see; the first is used where none is chosen, training draws one per batch",
    )

    def subsampling(self, input_dim: int, output_dim: int) -> Sequential:
        """Convolutions over time and frequency with a ReLU after each, and one linear layer; each output's last frame is the
        first of its stride."""
        members: dict[str, StreamingModule] = {}
        planes, bins = 1, input_dim
        for i, stride in enumerate(self.strides):
            kernel = max(self.kernel, stride)
            conv = StridedConv2d(planes, bins, self.planes, stride, kernel, self.separable and i > 0, low=2)
            members |= {f"lead{i}": Lead(planes * bins, stride - 1), f"conv{i}": conv}
            planes, bins = self.planes, conv.output_dim // self.planes
            members[f"act{i}"] = Pointwise(nn.ReLU(), conv.output_dim)
        out = Pointwise(Linear(planes * bins, output_dim), planes * bins, output_dim)
        scale = {"scale": Pointwise(Scale(math.sqrt(output_dim)), output_dim)} if self.scale_input else {}
        return Sequential(**members, out=out, **scale)


@ENCODERS.register
class FastConformerEncoder(ConformerEncoder):
    """(B, T, input_dim) → (B, total(T), dim): "Fast Conformer with Linearly Scalable Attention" (Rekesh et al. 2023) in the
    streaming form of Noroozi et al. 2024, number for number as NeMo computes it offline.

    Beside ``conformer``: relative positions, which rotary ones may replace, and convolutions over time and frequency that look at
    no frame past the first of their stride, so that frame t sees feature frames up to t · stride and its chunk's. Of T = 8k + r
    frames at strides 2, 2, 2 there are k + 1 where r is 0 or 1, else k + 2.

    Look-ahead, in output frames: chunk − 1. State and multiply-adds a layer are those of ``conformer``, with
    dim · (left + 2 · chunk) multiply-adds a frame for relative positions in place of rotations.
    By default, of 80 features 100 times a second: 108.89 M parameters, latency 1050 ms, state 5307.2 kB,
    1379.5 M multiply-adds/s.
    """

    Config = FastConformerConfig


class Scale(nn.Module):
    """``x`` times a number."""

    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor
