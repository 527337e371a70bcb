"""Batches of utterances of like duration, so that little is padding."""

from collections.abc import Iterable, Sequence

import numpy as np


def bucket(
    seconds: Sequence[float], batch_seconds: float, buckets: int, random: np.random.Generator | None
) -> list[list[int]]:
    """Indices of utterances in batches, each once; of a batch, its longest times its size is at most ``batch_seconds``, or it
    holds one utterance.

    With ``random`` utterances are drawn within ``buckets`` classes of duration, which hold the same amount of audio, and
    batches come in a drawn order. Without, they come in the order of duration, the longest first.
    """
    lengths = np.asarray(seconds, float)
    order = np.argsort(-lengths, kind="stable")
    if random is None:
        return _cut(lengths, order, batch_seconds)
    audio = np.cumsum(lengths[order])
    classes = np.minimum((audio / audio[-1] * buckets).astype(int), buckets - 1)
    # Each class in a drawn order, and one class after another, so that no class ends in a small batch.
    drawn = order[np.lexsort((random.random(len(order)), classes))]
    batches = _cut(lengths, drawn, batch_seconds)
    return [batches[i] for i in random.permutation(len(batches))]


def padding(seconds: Sequence[float], batches: Iterable[Sequence[int]]) -> float:
    """The share of the batches' samples that are padding, from 0 to 1."""
    lengths = np.asarray(seconds, float)
    rows = [lengths[batch] for batch in batches]
    whole = sum(len(row) * row.max() for row in rows)
    return 1 - sum(row.sum() for row in rows) / whole if rows else 0.0


def _cut(lengths: np.ndarray, order: np.ndarray, batch_seconds: float) -> list[list[int]]:
    batches: list[list[int]] = []
    batch: list[int] = []
    longest = 0.0
    for index, length in zip(order.tolist(), lengths[order].tolist(), strict=True):
        if batch and (len(batch) + 1) * max(longest, length) > batch_seconds:
            batches.append(batch)
            batch, longest = [], 0.0
        batch.append(index)
        longest = max(longest, length)
    return [*batches, batch] if batch else batches
