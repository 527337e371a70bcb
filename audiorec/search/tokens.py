"""What searches give: ragged rows of tokens with the frame each was emitted at."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from audiorec.transcript import Hypothesis


@dataclass
class Tokens:
    """``ids`` and ``frames`` (B, N) int64 and ``log_probs`` (B, N) with ``lengths`` (B,) valid each; zeros past them.

    ``frames`` counts encoder frames since the row's stream began. A token's log-probability is that which the model gave
    it at its frame among all symbols but the blank: how sure it was of what was said, whenever it was said. A search of words
    adds ``words`` (B, N), whose names are ``texts``: the word that ends with each token.
    """

    ids: Tensor
    frames: Tensor
    log_probs: Tensor
    lengths: Tensor
    words: Tensor | None = None
    texts: Sequence[str | None] = ()

    def row(self, index: int) -> tuple[list[int], list[int]]:
        """The ids and frames of one row."""
        length = int(self.lengths[index])
        return self.ids[index, :length].tolist(), self.frames[index, :length].tolist()

    def hypothesis(self, index: int) -> Hypothesis:
        """One row."""
        length = int(self.lengths[index])
        words = [] if self.words is None else [self.texts[word] for word in self.words[index, :length].tolist()]
        return Hypothesis(*self.row(index), self.log_probs[index, :length].tolist(), words=words)

    @classmethod
    def none(cls, batch: int, device: torch.device | str = "cpu") -> "Tokens":
        """No tokens in any row."""
        empty = torch.empty(batch, 0, dtype=torch.int64, device=device)
        return cls(empty, empty, torch.empty(batch, 0, device=device), empty.new_zeros(batch))

    @classmethod
    def stack(cls, rows: Sequence[Hypothesis], device: torch.device | str = "cpu") -> "Tokens":
        """The tokens of rows, and their words if they have any."""
        if not any(row.ids for row in rows):
            return cls.none(len(rows), device)
        texts = list({word: None for row in rows for word in row.words})
        numbers = [[texts.index(word) for word in row.words] for row in rows]

        def ragged(values: list[list], dtype: torch.dtype) -> Tensor:
            given = [torch.tensor(row, dtype=dtype, device=device) for row in values]
            return torch.nn.utils.rnn.pad_sequence(given, batch_first=True)

        return cls(
            ragged([row.ids for row in rows], torch.int64),
            ragged([row.frames for row in rows], torch.int64),
            ragged([row.log_probs for row in rows], torch.float32),
            torch.tensor([len(row.ids) for row in rows], device=device),
            ragged(numbers, torch.int64) if texts else None,
            texts,
        )

    @classmethod
    def of(
        cls, rows: Tensor, ids: Tensor, frames: Tensor, log_probs: Tensor, batch: int, words: Tensor | None = None
    ) -> "Tokens":
        """The tokens ids (N,) at frames (N,) of rows (N,), in the order in which each row emitted its own."""
        counts = rows.bincount(minlength=batch)
        order = rows.argsort(stable=True)
        rows = rows[order]
        column = torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[rows]
        size = int(counts.max()) if batch else 0
        place = rows * size + column

        def ragged(x: Tensor) -> Tensor:
            return x.new_zeros(batch * size).index_copy_(0, place, x[order]).view(batch, size)

        given = None if words is None else ragged(words)
        return cls(ragged(ids), ragged(frames), ragged(log_probs), counts, given)

    @classmethod
    def where(cls, mask: Tensor, ids: Tensor, rest: Callable[[], tuple[Tensor, ...]]) -> "Tokens":
        """The tokens of (B, T) for which ``mask`` is true. Once there is one, ``rest`` gives frames, log-probabilities, words."""
        rows, columns = mask.nonzero(as_tuple=True)
        if len(rows) == 0:
            return cls.none(len(mask), mask.device)
        frames, log_probs, *words = (x[rows, columns] for x in rest())
        return cls.of(rows, ids[rows, columns], frames, log_probs, len(mask), *words)


def without_blank(log_probs: Tensor, blank: Tensor) -> Tensor:
    """Log-probabilities given that the symbol is not the blank, whose own log-probabilities are ``blank``."""
    return (log_probs - (-blank.expm1()).log()).clamp(max=0)
