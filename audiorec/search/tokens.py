"""What searches give: ragged rows of tokens with the frame each was emitted at."""

from dataclasses import dataclass

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
