"""``search_parts``: any search, its tokens split into segments where speech ends, at the very frame."""

from collections.abc import Sequence

import torch
from torch import Tensor

from audiorec.search.offline import Search
from audiorec.streaming import State, put, take
from audiorec.transcript import Endpointer, Hypothesis, Part, split


def search_parts(
    search: Search, x: Tensor, lengths: Sequence[int] | None, state: State, rows: Sequence[Endpointer]
) -> tuple[list[list[Part]], State]:
    """Search encoder frames x (B, T, C), of which ``lengths`` (all where None) are valid: each row's parts of segments.

    Where segments end, and what that changes, says ``audiorec.transcript.split``.
    """
    streams = _Streams(search, x, state)
    return split(streams, x.shape[1], lengths, rows), streams.state


class _Streams:
    def __init__(self, search: Search, x: Tensor, state: State):
        self.search, self.x, self.state = search, x, state
        self.revises = search.revises

    def step(self, start: int, end: int, counts: list[int] | None) -> list[Hypothesis]:
        lengths = None if counts is None else self.x.new_tensor(counts, dtype=torch.int64)
        tokens, self.state = self.search.step(self.x[:, start:end], lengths, self.state)
        found = tokens.lengths.tolist()
        return [tokens.hypothesis(i) if count else Hypothesis() for i, count in enumerate(found)]

    def last(self, rows: list[int]) -> list[int | None]:
        tokens = self.search.partial(take(self.state, rows))
        return [frames[-1] if (frames := tokens.row(i)[1]) else None for i in range(len(rows))]

    def commit(self, rows: list[int]) -> list[Hypothesis]:
        tokens, part = self.search.commit(take(self.state, rows))
        self.state = put(self.state, rows, part)
        return [tokens.hypothesis(i) for i in range(len(rows))]
