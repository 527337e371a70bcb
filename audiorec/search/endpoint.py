"""``search_parts``: any search, its tokens split into segments where speech ends, at the very frame."""

from collections.abc import Sequence

import torch
from torch import Tensor

from audiorec.search.decode import Search
from audiorec.streaming import State, put, take
from audiorec.transcript import Endpointer, Hypothesis, Part


def search_parts(
    search: Search, x: Tensor, lengths: Sequence[int] | None, state: State, rows: Sequence[Endpointer]
) -> tuple[list[list[Part]], State]:
    """Search encoder frames x (B, T, C), of which ``lengths`` (all where None) are valid: each row's parts of segments.

    A row whose ``Endpointer`` ends a segment commits its best hypothesis at that frame; nothing else changes. So a greedy
    search says the same words as without, and a beam the same at any chunking.
    """
    parts: list[list[Part]] = [[] for _ in rows]
    total = x.shape[1] if lengths is None else max(lengths, default=0)
    at = 0
    while at < total:
        left = [total - at if lengths is None else max(0, length - at) for length in lengths or [total] * len(rows)]
        stops = [row.earliest(search.revises) for row in rows]
        steps = [int(min(more, stop - row.frames)) for row, more, stop in zip(rows, left, stops, strict=True)]
        size = min(step for step in steps if step)
        counts = None if lengths is None else x.new_tensor([min(size, more) for more in left], dtype=torch.int64)
        tokens, state = search.step(x[:, at : at + size], counts, state)
        found = tokens.lengths.tolist()
        for i, row in enumerate(rows):
            parts[i] += row.hear(tokens.hypothesis(i) if found[i] else Hypothesis(), min(size, left[i]))
        due = [i for i, row in enumerate(rows) if left[i] and row.frames >= stops[i]]
        if due and (ended := _ended(search, take(state, due), [rows[i] for i in due])):
            ended = [due[i] for i in ended]
            tokens, part = search.commit(take(state, ended))
            state = put(state, ended, part)
            for k, i in enumerate(ended):
                parts[i] += rows[i].end(tokens.hypothesis(k))
        at += size
    return parts, state


def _ended(search: Search, state: State, rows: Sequence[Endpointer]) -> list[int]:
    """Which of the rows end a segment here."""
    if not search.revises:
        return [i for i, row in enumerate(rows) if row.ends()]
    open_tokens = search.partial(state)
    last = [frames[-1] if (frames := open_tokens.row(i)[1]) else None for i in range(len(rows))]
    return [i for i, row in enumerate(rows) if row.ends(last[i])]
