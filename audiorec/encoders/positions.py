"""How attention knows places: rotary positions turn queries and keys, Transformer-XL's relative ones score distances."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiorec.streaming import Linear

Positions = Literal["rotary", "relative"]


def rotary_table(size: int, head_dim: int) -> Tensor:
    """(2, size, head_dim / 2), float64: cosine and sine of place · 10000^(−2i / head_dim)."""
    angles = torch.arange(size, dtype=torch.float64)[:, None] * _rates(head_dim)
    return torch.stack([angles.cos(), angles.sin()])


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """``x`` (…, T, head_dim), each pair of channels i and i + head_dim / 2 turned by the angle of its place."""
    cos, sin = table.unbind()
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


def distance_table(farthest: int, size: int, dim: int) -> Tensor:
    """(size, dim), float64: of distances ``farthest``, farthest − 1, …, the sine of distance · 10000^(−2i / dim) in channel 2i,
    the cosine in channel 2i + 1."""
    angles = (farthest - torch.arange(size, dtype=torch.float64))[:, None] * _rates(dim)
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


def _rates(dim: int) -> Tensor:
    return 10000.0 ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)


class Relative(nn.Module):
    """Transformer-XL's positions (Dai et al. 2019): a query q scores a key k that lies r frames before it by
    (q + u) · k + (q + v) · W s(r), with s(r) the sinusoids of ``distance_table``; both are divided by √head_dim.

    W s(r) does not depend on the input. Where no gradient is wanted it is computed once and kept.
    """

    table: Tensor

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.projection = Linear(dim, dim, bias=False)
        self.bias_u = nn.Parameter(torch.zeros(heads, dim // heads))
        self.bias_v = nn.Parameter(torch.zeros(heads, dim // heads))

    def use(self, left: int, span: int, width: int) -> None:
        """Score windows of ``span`` queries and ``width`` keys, of which ``left`` lie before the first query."""
        table = distance_table(left + span - 1, width + span - 1, self.projection.in_features)
        self.register_buffer("table", table.to(self.bias_u), persistent=False)
        self.span, self.kept = span, None

    def forward(self, q: Tensor, width: int) -> tuple[Tensor, Tensor]:
        """q (N, heads, T, head_dim), the first T of ``span`` queries → q + u, and what to add to the scores of ``width`` keys,
        (N, heads, T, width)."""
        count = q.shape[2]
        first = self.span - count  # distances that later queries alone have
        positions = self._projected()[..., first : first + width + count - 1]
        scores = (q + self.bias_v[:, None]) @ positions.to(q.dtype)
        # Row i begins at the distance of query i, which is count − 1 − i places from the first: padding shifts each row by one.
        shifted = F.pad(scores, (1, 0)).flatten(2)[..., count:].unflatten(2, (count, -1))[..., :width]
        return q + self.bias_u[:, None], shifted / math.sqrt(q.shape[3])

    def _projected(self) -> Tensor:
        """(heads, head_dim, distances): W s(r)."""
        weight = self.projection.weight
        wanted = torch.is_grad_enabled() or torch.compiler.is_compiling()
        if wanted or weight.is_inference() or not isinstance(weight, nn.Parameter):  # one with an adapter is made anew
            return self._project()
        version = weight.data_ptr(), weight._version
        if self.kept is None or self.kept[0] != version:
            self.kept = version, self._project()
        return self.kept[1]

    def _project(self) -> Tensor:
        return self.projection(self.table).unflatten(1, (self.heads, -1)).permute(1, 2, 0)
