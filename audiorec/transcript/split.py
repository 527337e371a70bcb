"""``split``: streams under any search, their tokens split into segments where speech ends, at the very frame."""

from collections.abc import Sequence
from typing import Protocol

from audiorec.transcript.endpoint import Endpointer, Part
from audiorec.transcript.hypothesis import Hypothesis


class Searched(Protocol):
    """Encoder frames of streams side by side, and their search. It keeps the streams' states."""

    revises: bool
    """whether the best hypothesis may hold tokens that are not committed"""

    def step(self, start: int, end: int, counts: list[int] | None) -> list[Hypothesis]:
        """Search frames ``start`` to ``end - 1``, of which ``counts`` are valid, all where None: what each row commits."""

    def last(self, rows: list[int]) -> list[int | None]:
        """The frame of each row's last token that is not committed; None where all are. Called of a search that revises."""

    def commit(self, rows: list[int]) -> list[Hypothesis]:
        """Commit these rows' best hypotheses: the tokens that were not. Called of a search that revises."""


def split(streams: Searched, time: int, lengths: Sequence[int] | None, rows: Sequence[Endpointer]) -> list[list[Part]]:
    """Search ``time`` frames, of which ``lengths`` (all where None) are valid: each row's parts of segments.

    A row whose ``Endpointer`` ends a segment commits its best hypothesis at that frame; nothing else changes. So a greedy
    search says the same words as without, and a beam the same at any chunking.
    """
    parts: list[list[Part]] = [[] for _ in rows]
    total = time if lengths is None else max(lengths, default=0)
    at = 0
    while at < total:
        left = [total - at if lengths is None else max(0, length - at) for length in lengths or [total] * len(rows)]
        stops = [row.earliest(streams.revises) for row in rows]
        steps = [int(min(more, stop - row.frames)) for row, more, stop in zip(rows, left, stops, strict=True)]
        size = min(step for step in steps if step)
        counts = None if lengths is None else [min(size, more) for more in left]
        for i, said in enumerate(streams.step(at, at + size, counts)):
            parts[i] += rows[i].hear(said, min(size, left[i]))
        due = [i for i, row in enumerate(rows) if left[i] and row.frames >= stops[i]]
        if due and (ended := _ended(streams, due, rows)):
            tokens = streams.commit(ended) if streams.revises else [Hypothesis() for _ in ended]
            for i, rest in zip(ended, tokens, strict=True):
                parts[i] += rows[i].end(rest)
        at += size
    return parts


def _ended(streams: Searched, due: list[int], rows: Sequence[Endpointer]) -> list[int]:
    """Which of the rows that are due end a segment here."""
    if not streams.revises:
        return [i for i in due if rows[i].ends()]
    return [i for i, last in zip(due, streams.last(due), strict=True) if rows[i].ends(last)]
