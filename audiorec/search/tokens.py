"""What searches give: ragged rows of tokens with the frame each was emitted at."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Tokens:
    """``ids`` and ``frames`` (B, N) int64 with ``lengths`` (B,) valid each; zeros past them.

    ``frames`` counts encoder frames since the row's stream began.
    """

    ids: Tensor
    frames: Tensor
    lengths: Tensor

    def row(self, index: int) -> tuple[list[int], list[int]]:
        """The ids and frames of one row."""
        length = int(self.lengths[index])
        return self.ids[index, :length].tolist(), self.frames[index, :length].tolist()

    @classmethod
    def of(cls, rows: Tensor, ids: Tensor, frames: Tensor, batch: int) -> "Tokens":
        """The tokens ids (N,) at frames (N,) of rows (N,), in the order in which each row emitted its own."""
        counts = rows.bincount(minlength=batch)
        order = rows.argsort(stable=True)
        rows = rows[order]
        column = torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[rows]
        size = int(counts.max()) if batch else 0
        place = rows * size + column

        def ragged(x: Tensor) -> Tensor:
            return x.new_zeros(batch * size).index_copy_(0, place, x[order]).view(batch, size)

        return cls(ragged(ids), ragged(frames), counts)
