"""Estimate n-grams from text: interpolated modified Kneser-Ney (Chen & Goodman 1998), as KenLM's lmplz computes it."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from audiorec.errors import UserError
from audiorec.search.ngram import BEGIN, BEGIN_ID, END, END_ID, NEVER, SPECIALS, UNKNOWN_ID, Grams, Ints, NGram, places
from audiorec.text import UNKNOWN, Tokenizer

ORDERS = 5  # the longest n-grams that are estimated
FALLBACK = (0.5, 1.0, 1.5)  # lmplz's own, where the text has too few rare n-grams to tell the discounts

log = logging.getLogger(__name__)

Float64 = NDArray[np.float64]


class Vocabulary(dict[str, int]):
    """Words with ids, which grow as ``encode`` meets new ones; a closed one, of ``words`` alone, takes those as unknown."""

    def __init__(self, words: Iterable[str] | None = None):
        super().__init__(zip(SPECIALS, range(len(SPECIALS)), strict=True))
        for word in words or ():
            self.setdefault(word, len(self))
        self.closed = words is not None

    def __missing__(self, word: str) -> int:
        if self.closed:
            return UNKNOWN_ID
        self[word] = len(self)
        return self[word]

    def encode(self, name: str, lines: Iterable[Sequence[str]]) -> NDArray[np.int32]:
        """The ids of all sentences one after another, each between begin and end; lines without words are left out.

        Raises UserError where there is no word, or one that stands for begin or end; ``name`` says where.
        """
        sentences = [0]

        def whole(lines: Iterable[Sequence[str]]) -> Iterable[Sequence[str]]:
            for line in filter(None, lines):
                sentences[0] += 1
                yield (BEGIN, *line, END)

        ids = np.fromiter(map(self.__getitem__, chain.from_iterable(whole(lines))), np.int32)
        if not len(ids):
            raise UserError(f"{name}: there is no text to count; give transcripts that hold words")
        for mark in (BEGIN_ID, END_ID):
            if np.count_nonzero(ids == mark) != sentences[0]:
                raise UserError(
                    f"{name}: has {(BEGIN, END)[mark - BEGIN_ID]} as a word; take it out, lines are sentences"
                )
        return ids


@dataclass
class Counts:
    """The different n-grams of one order, sorted by ``keys`` (as those of ``Grams``): how often each occurs, the index of
    what is left without its first word, and whether that one is the begin of a sentence."""

    keys: Ints
    counts: Ints
    suffixes: Ints
    begins: NDArray[np.bool_]


def estimate(text: NDArray[np.int32], vocabulary: Vocabulary, order: int = 3, prune: Sequence[int] = ()) -> NGram:
    """The n-grams up to ``order`` of an encoded text; every word of the vocabulary has a probability above 0.

    Each order subtracts its three discounts; what they leave is shared as the next lower order says, at last by all words
    alike, ``<unk>`` among them. Lower orders count different words before an n-gram instead of occurrences. ``prune`` are
    counts, one an order: longer n-grams that occur as often or more seldom are left out, and the shorter ones have their
    share. Raises UserError where they fall, or the first is not 0.
    """
    thresholds = [*prune, *[prune[-1] if prune else 0] * (order - len(prune))]
    if len(thresholds) > order or thresholds[0] or sorted(thresholds) != thresholds or order > ORDERS:
        raise UserError(
            f"prune {','.join(map(str, prune))}: give up to {order} counts that begin with 0 and never fall"
        )
    counted = _count(text, len(vocabulary), order)
    size = len(vocabulary)
    lower: Float64 = np.full(1, 1 / (size - 1))  # the begin is never predicted
    kept = np.zeros(1, np.int64)  # the index of each shorter n-gram among those that stay, or −1
    orders: list[Grams] = []
    for number, (grams, threshold) in enumerate(zip(counted, thresholds, strict=True), 1):
        adjusted = grams.counts
        if number < order:
            adjusted = np.bincount(counted[number].suffixes, minlength=len(grams.keys))
            adjusted[grams.begins] = grams.counts[grams.begins]  # nothing stands before them
        if number == 1:
            adjusted[BEGIN_ID] = 0
        discounts = _discounts(adjusted, number)
        stays = (grams.counts > threshold) | (number == 1)
        taken = np.where(stays, discounts[np.minimum(adjusted, 3)], adjusted)
        history = grams.keys // size
        total = np.bincount(history, adjusted, len(lower) if number > 1 else 1)
        left = np.bincount(history, taken, len(total)) / np.maximum(total, 1)
        left[total == 0] = 1
        if orders:
            orders[-1].backoffs[:] = np.log10(np.maximum(left[kept >= 0], 10**NEVER))
        probability = (adjusted - taken) / np.maximum(total, 1)[history] + left[history] * lower[grams.suffixes]
        keys = (kept[history] * size + grams.keys % size)[stays]
        with np.errstate(divide="ignore"):
            scores = np.log10(probability[stays]).astype(np.float32)
        if number == 1:
            scores[BEGIN_ID] = NEVER
        orders.append(Grams(keys, scores))
        lower, kept = probability, np.where(stays, np.cumsum(stays) - 1, -1)
    return NGram(list(vocabulary), orders)


def estimate_pieces(texts: Iterable[str], tokenizer: Tokenizer, order: int = 3) -> NGram:
    """The n-grams of a tokenizer's pieces in texts; every piece but the blank has a probability above 0."""
    pieces = Vocabulary(tokenizer.pieces[UNKNOWN:])
    lines = ([tokenizer.pieces[i] for i in tokenizer.encode(text)] for text in texts)
    return estimate(pieces.encode("n-gram", lines), pieces, order)


def _count(text: NDArray[np.int32], size: int, order: int) -> list[Counts]:
    """The n-grams of every order. All have the words of the vocabulary as those of one word, counted or not."""
    place = places(text)
    first = np.arange(size)
    counted = [Counts(first, np.bincount(text, minlength=size), np.zeros(size, np.int64), first == BEGIN_ID)]
    index = text.copy()  # of each place, the n-gram that ends there
    for number in range(2, order + 1):
        ends = np.flatnonzero(place >= number - 1)
        keys = index[ends - 1].astype(np.int64) * size + text[ends]
        sort = np.argsort(keys)
        ordered = keys[sort]
        new = np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]
        starts = np.flatnonzero(new)
        unique = ordered[starts]
        suffixes = index[ends[sort[starts]]].astype(np.int64)
        counts = np.diff(np.append(starts, len(ordered)))
        counted.append(Counts(unique, counts, suffixes, counted[-1].begins[unique // size]))
        index[ends[sort]] = np.cumsum(new) - 1
    return counted


def _discounts(adjusted: Ints, order: int) -> Float64:
    """What is subtracted from a count of 0, 1, 2, and 3 or more: D_k = k − (k + 1) · n₁ / (n₁ + 2 n₂) · n_(k+1) / n_k."""
    n = np.bincount(np.minimum(adjusted, 5), minlength=6).astype(float)
    k = np.arange(1, 4)
    if n[1:4].all():
        discounts = k - (k + 1) * n[1] / (n[1] + 2 * n[2]) * n[k + 1] / n[k]
        if ((discounts >= 0) & (discounts <= k)).all():
            return np.append(0, discounts)
    log.info("%d-grams: too few are rare to tell the discounts; took %s", order, FALLBACK)
    return np.array([0, *FALLBACK])
