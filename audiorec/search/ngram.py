"""``NGram``: a back-off n-gram model as packed arrays, about 16 bytes an n-gram, and the automaton made of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from audiorec.search.automaton import NO_KEY, Automaton

SPECIALS = UNKNOWN, BEGIN, END = "<unk>", "<s>", "</s>"
UNKNOWN_ID, BEGIN_ID, END_ID = range(3)
NEVER = -100.0  # log10 of a word that is not in the model, if <unk> is not either; KenLM's choice too

BLOCK = 1 << 18  # n-grams that become arcs at once

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass
class Grams:
    """The n-grams of one order, sorted. A key is ``history · words + word``: the history's index among the n-grams that
    are one shorter (of one word that is its id), and the number of the last word. Values are log10."""

    keys: Ints
    scores: Floats
    backoffs: Floats = field(default_factory=lambda: np.zeros(0, np.float32))

    def __post_init__(self) -> None:
        if not len(self.backoffs):
            self.backoffs = np.zeros(len(self.keys), np.float32)

    def __len__(self) -> int:
        return len(self.keys)


@dataclass
class NGram:
    """A model of ``words``, of which SPECIALS are the first; ``orders[0]`` holds all of them by their index."""

    words: list[str]
    orders: list[Grams]

    def automaton(self, symbols: Mapping[str, int], size: int, weight: float = 1.0, bonus: float = 0.0) -> Automaton:
        """Natural log-probabilities times ``weight``, and ``bonus`` for each symbol, over the symbols 0 … ``size`` − 1.

        ``symbols`` maps words to symbols; n-grams of other words are left out, since nobody says them. Symbols that are no
        word of the model score as ``<unk>`` after an empty history.
        """
        names = {**symbols, BEGIN: size, END: size + 1}
        place = np.array([names.get(word, -1) for word in self.words], np.int64)
        orders = _renumbered(self, place, size + 2)
        first = Grams(np.arange(size + 2), np.repeat(self.orders[0].scores[UNKNOWN_ID], size + 2))
        first.scores[orders[0].keys] = orders[0].scores
        first.backoffs[orders[0].keys] = orders[0].backoffs
        return _automaton([first, *orders[1:]], size, weight * math.log(10), bonus)

    def log_probs(self, text: NDArray[np.int32]) -> NDArray[np.float64]:
        """log10 of each word's probability after those before it, of an encoded text; 0 for each begin of a sentence."""
        place = places(text)
        result = self.orders[0].scores[text].astype(float)
        history, shorter = text.astype(np.int64), self.orders[0]
        for number, grams in enumerate(self.orders[1:], 1):
            ends = np.flatnonzero((place >= number) & (np.append(-1, history[:-1]) >= 0))
            before = history[ends - 1]
            at, found = look_up(grams.keys, before * len(self.words) + text[ends])
            result[ends] = np.where(found, grams.scores[at], result[ends] + shorter.backoffs[before])
            history, shorter = np.full(len(text), -1), grams
            history[ends[found]] = at[found]
        result[text == BEGIN_ID] = 0
        return result


def places(text: NDArray[np.int32]) -> Ints:
    """How many words stand before each one in its sentence, the begin among them."""
    starts = np.flatnonzero(text == BEGIN_ID)
    return np.arange(len(text)) - np.repeat(starts, np.diff(np.append(starts, len(text))))


def look_up(keys: Ints, wanted: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """Where each of ``wanted`` stands in sorted ``keys``, and whether it does."""
    if not len(keys):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), bool)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return at, keys[at] == wanted


def _renumbered(model: NGram, place: Ints, total: int) -> list[Grams]:
    """The n-grams all of whose words have a new number in ``place``, sorted anew."""
    orders, history = [], np.zeros(1, np.int64)
    for grams in model.orders:
        # Whole arrays are few at a time: here is the peak of memory.
        keys, word = history[grams.keys // len(model.words)], place[grams.keys % len(model.words)]
        kept = np.flatnonzero((keys >= 0) & (word >= 0))
        keys *= total
        keys += word
        del word
        keys = keys[kept]
        if not (keys[1:] > keys[:-1]).all():
            order = np.argsort(keys)
            kept, keys = kept[order], keys[order]
            del order
        history = np.full(len(grams), -1, np.int64)
        history[kept] = np.arange(len(kept)) if orders else keys
        orders.append(Grams(keys, grams.scores[kept], grams.backoffs[kept]))
    return orders


def _automaton(orders: Sequence[Grams], size: int, scale: float, bonus: float) -> Automaton:
    """Of orders over ``size`` symbols, the begin and the end of a sentence, which nobody says."""
    total, begin, end = size + 2, size, size + 1
    states, count = _states(orders, total)
    arcs = sum(int((grams.keys % total < size).sum()) for grams in orders)
    keys, weights, targets = np.full(arcs + 1, NO_KEY), np.zeros(arcs + 1, np.float32), np.zeros(arcs + 1, np.int64)
    failure, failure_weights, final = (
        np.zeros(count, np.int64),
        np.zeros(count, np.float32),
        np.zeros(count, np.float32),
    )
    filled = 0

    def follow(state: Ints, word: Ints) -> Ints:
        """The next states of words after states, by the arcs that are there so far."""
        target, waiting = np.zeros(len(word), np.int64), np.arange(len(word))
        while len(waiting):
            at, found = look_up(keys[:filled], state * size + word[waiting])
            target[waiting[found]] = targets[at[found]]
            waiting, state = waiting[~found], failure[state[~found]]
        return target

    for number, grams in enumerate(orders):
        above, own = states[number], states[number + 1]
        sources = above[above > 0]
        final[sources] = failure_weights[sources] + final[failure[sources]]
        first = filled
        for start in range(0, len(grams), BLOCK):
            part = slice(start, start + BLOCK)
            history, word = np.divmod(grams.keys[part], total)
            source, score, said = above[history], scale * grams.scores[part], word < size
            final[source[word == end]] = score[word == end]
            source, word, here = source[said], word[said], own[part][said]
            block = slice(first, first + len(word))
            # The longest suffix of it that is a state: of two words and more it is found from its history's.
            suffix = follow(failure[source], word) if number else np.zeros(len(word), np.int64)
            keys[block], weights[block] = source * size + word, score[said] + np.float32(bonus)
            targets[block] = np.where(here >= 0, here, suffix)
            kept = here >= 0
            failure[here[kept]], failure_weights[here[kept]] = suffix[kept], scale * grams.backoffs[part][said][kept]
            first += len(word)
        if number == 0 and own[begin] > 0:
            failure_weights[own[begin]] = scale * grams.backoffs[begin]
        filled = first
    sources = states[-1][states[-1] > 0]
    final[sources] = failure_weights[sources] + final[failure[sources]]
    start = max(int(states[1][begin]), 0)
    return Automaton.of_arrays(size, keys, weights, targets, failure, failure_weights, final, start=start)


def _states(orders: Sequence[Grams], total: int) -> tuple[list[Ints], int]:
    """Of the empty history and of each n-gram its state, or −1, and how many there are.

    A history without continuations and without back-off weight is no state: its longest suffix gives the same scores.
    """
    states, count = [np.zeros(1, np.int64)], 1
    for grams, longer in zip(orders, [*orders[1:], None], strict=True):
        kept = grams.backoffs != 0
        if longer is not None:
            kept[longer.keys // total] = True
        states.append(np.where(kept, count + np.cumsum(kept) - 1, -1))
        count += int(kept.sum())
    return states, count
