"""Interpolate n-gram models: their weights from a held-out text, and one back-off model in their place."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from audiorec.search.ngram import BEGIN_ID, NEVER, UNKNOWN_ID, Grams, NGram, look_up

Float64 = NDArray[np.float64]


def tune_weights(models: Sequence[NGram], text: NDArray[np.int32], rounds: int = 100) -> Float64:
    """The weights with which the mixture finds an encoded text likeliest, by expectation maximisation; they sum to 1.

    Unknown words do not count: how likely a model finds them says nothing of its other words.
    """
    counts = (text != BEGIN_ID) & (text != UNKNOWN_ID)
    probabilities = np.stack([10 ** model.log_probs(text)[counts] for model in models])
    weights: Float64 = np.full(len(models), 1 / len(models))
    for _ in range(rounds):
        joint = weights[:, None] * probabilities
        weights = (joint / joint.sum(0)).mean(1)
    return weights


def mix(models: Sequence[NGram], weights: Sequence[float] | Float64) -> NGram:
    """The back-off model that has every n-gram of the models, with the weighted sum of what they say of it.

    What no n-gram says is backed off, with the weights that make each history's probabilities sum to 1 (as SRILM's static
    interpolation does). The models are of the same words, and have the suffix of each of their n-grams.
    """
    size = len(models[0].words)
    assert all(model.words == models[0].words for model in models)
    orders: list[Grams] = []
    suffixes = np.zeros(size, np.int64)  # of each n-gram, the index of what is left without its first word
    own = [np.zeros(1, np.int64)] * len(models)  # of each model's n-grams, the index here
    said: list[Float64] = [np.zeros(1)] * len(models)  # log10 of what each model says of the shorter n-grams
    backoffs: list[Float64] = [np.zeros(1)] * len(models)
    mixed = np.zeros(1)
    for number in range(max(len(model.orders) for model in models)):
        parts = [model.orders[number] if number < len(model.orders) else None for model in models]
        renumbered = [
            own[i][part.keys // size] * size + part.keys % size if part else np.zeros(0, np.int64)
            for i, part in enumerate(parts)
        ]
        keys = np.unique(np.concatenate(renumbered))
        history, word = np.divmod(keys, size)
        if number == 1:
            suffixes = word
        elif number > 1:
            suffixes, _ = look_up(orders[-1].keys, suffixes[history] * size + word)
        for i, part in enumerate(parts):
            at = np.searchsorted(keys, renumbered[i])
            full = backoffs[i][history] + said[i][suffixes] if number else np.full(len(keys), NEVER)
            back = np.zeros(len(keys))
            if part:
                full[at], back[at] = part.scores, part.backoffs
            own[i], said[i], backoffs[i] = at, full, back
        lower, mixed = mixed, sum(weight * 10**full for weight, full in zip(weights, said, strict=True))
        if orders:
            rest = [np.maximum(1 - np.bincount(history, p, len(orders[-1])), 0) for p in (mixed, lower[suffixes])]
            left = rest[0] / np.maximum(rest[1], 1e-12)
            orders[-1].backoffs[:] = np.log10(np.clip(np.where(rest[1] > 0, left, 1), 10**NEVER, None))
        orders.append(Grams(keys, np.log10(mixed).astype(np.float32)))
    return NGram(models[0].words, orders)
