"""Greedy searches in numpy: the tokens, frames, log-probabilities and margins of ``audiorec.search``'s, without torch."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np

from audiorec.errors import UserError
from audiorec.runtime.state import State, repeat, store, take
from audiorec.search import stretches
from audiorec.search.automaton import Automaton
from audiorec.text import BLANK
from audiorec.transcript import Hypothesis

Said = list[Hypothesis]  # what each row commits
Predict = Callable[[np.ndarray, State], tuple[np.ndarray, State]]
Join = Callable[[np.ndarray, np.ndarray], np.ndarray]


class NumpySearch(ABC):
    """What every search here offers; those of tokens never take one back."""

    revises = False
    """whether ``partial`` may hold tokens that are not committed"""
    segments = True
    """whether a stream may end in the middle, as it does where a segment of speech ends"""

    def add(self, automata: Sequence[Automaton]) -> int:
        """The owner for streams with automata of their own. Raises UserError where the search takes none."""
        raise UserError("search: n-grams and hotwords need a beam; load with search={'kind': 'beam'}")

    def remove(self, owner: int) -> None:
        """Take them out again once no stream needs them. Raises UserError for an ``owner`` that was not given."""
        raise UserError(f"search: has no automata of the id {owner}")

    @abstractmethod
    def initial_state(self, batch_size: int, owners: Sequence[int] | None = None) -> State:
        """The state of streams that have not begun; its ``margin`` (B,) is the smallest gap of two best scores.

        ``owners``: what ``add`` gave for each; 0, or None for all: the search's own automata, or none.
        """

    @abstractmethod
    def step(self, x: np.ndarray, lengths: np.ndarray | None, state: State) -> tuple[Said, State]:
        """The tokens that frames x (B, T, C) commit, of which ``lengths`` (B,), all where None, are valid. ``state`` is kept."""

    def partial(self, state: State) -> Said:
        """Each row's tokens that are not committed yet."""
        return nothing(len(state["margin"]))

    def commit(self, state: State) -> tuple[Said, State]:
        """Commit all tokens of the best hypothesis; those that say otherwise are dropped, and the search goes on."""
        return nothing(len(state["margin"])), state

    def hypotheses(self, state: State, row: int) -> list[Hypothesis]:
        """The ends that a row's committed tokens may have if its stream ends here, best first."""
        return self.partial(take(state, [row]))


class CtcGreedySearch(NumpySearch):
    """Frames are log-probabilities (B, T, V), blank 0: the best symbol of each, repeats merged, blanks dropped.

    State: ``last`` (B,), the best symbol of the row's last frame; ``frame`` (B,), frames seen; ``margin`` (B,).
    """

    def initial_state(self, batch_size: int, owners: Sequence[int] | None = None) -> State:
        zeros = np.zeros(batch_size, np.int64)
        return {"last": zeros, "frame": zeros.copy(), "margin": np.full(batch_size, np.inf, np.float32)}

    def step(self, x: np.ndarray, lengths: np.ndarray | None, state: State) -> tuple[Said, State]:
        batch, time = x.shape[:2]
        if time == 0:
            return nothing(batch), state
        symbols, best, gaps = _best(x)
        before = np.concatenate([state["last"][:, None], symbols[:, :-1]], 1)
        new = (symbols != BLANK) & (symbols != before)
        if lengths is None:
            last, frame = symbols[:, -1], state["frame"] + time
        else:
            live = np.arange(time) < lengths[:, None]
            new, gaps = new & live, np.where(live, gaps, np.inf)
            last = np.where(lengths > 0, symbols[np.arange(batch), np.maximum(lengths - 1, 0)], state["last"])
            frame = state["frame"] + lengths
        said = nothing(batch)
        rows, columns = new.nonzero()
        if len(rows):
            sure = _without_blank(best[rows, columns], x[rows, columns, BLANK])
            say(said, rows, symbols[rows, columns], state["frame"][rows] + columns, sure)
        return said, {"last": last, "frame": frame, "margin": np.minimum(state["margin"], gaps.min(1))}


class TransducerGreedySearch(NumpySearch):
    """The best symbol given the frame and the symbols so far; a blank moves on to the next frame.

    Frames (B, T, J) are as the joiner reads them. ``join``: frames (N, T, J) and read (N, J) → logits (N, T, V).
    ``predict``: one more symbol (N,) of each history, and the predictor's state → what the joiner reads (N, J), the next
    state. ``read`` (1, J) and ``predictor`` are those of a row without symbols. At most ``max_symbols`` a frame; the joiner
    reads ``block`` frames beside one history, and what lies past the first symbol found is read again.

    State: the predictor's under ``predictor.…``, and those of the torch search.
    """

    def __init__(
        self, predict: Predict, join: Join, read: np.ndarray, predictor: State, max_symbols: int, block: int = 8
    ):
        self.predict = predict
        self.join = join
        self.max_symbols = max_symbols
        self.block = block
        self._begin = {"read": read, **{f"predictor.{name}": array for name, array in predictor.items()}}

    def initial_state(self, batch_size: int, owners: Sequence[int] | None = None) -> State:
        zeros = np.zeros(batch_size, np.int64)
        counts = {name: zeros.copy() for name in ("frame", "skip", "decisions")}
        return {**repeat(self._begin, batch_size), **counts, "margin": np.full(batch_size, np.inf, np.float32)}

    def step(self, x: np.ndarray, lengths: np.ndarray | None, state: State) -> tuple[Said, State]:
        batch, time = x.shape[:2]
        if lengths is None:
            if self.block > 1 and 0 < time <= self.block and (blanks := self._blanks(x, state)):
                return nothing(batch), blanks
            lengths = np.full(batch, time, np.int64)
        history = {name: state[name].copy() for name in self._begin}
        decisions, margin = state["decisions"].copy(), state["margin"].copy()
        at = state["skip"].copy()  # the frame that each row is at
        count = np.zeros_like(at)  # symbols that it emitted there
        said = nothing(batch)
        while len(rows := (at < lengths).nonzero()[0]):
            here = at[rows]
            left = lengths[rows] - here
            ahead = np.arange(min(self.block, time))
            seen = x[rows[:, None], np.minimum(here[:, None] + ahead, time - 1)]
            logits = self.join(seen, history["read"][rows])
            symbols, moves, gaps = self._decide(logits)
            live = ahead < left[:, None]
            # Up to the first symbol, or to the last frame: what comes after has another history.
            new = (symbols != BLANK) & live
            last = np.where(new.any(1), new.argmax(1), live.sum(1) - 1)
            line = np.arange(len(rows))
            symbol, move = symbols[line, last], moves[line, last]
            margin[rows] = np.minimum(margin[rows], np.where(ahead <= last[:, None], gaps, np.inf).min(1))
            decisions[rows] += last + 1
            here += last

            emits = symbol != BLANK
            many = np.where(last == 0, count[rows], 0) + emits
            move = np.where(many >= self.max_symbols, np.maximum(move, 1), move)
            at[rows] = here + move
            count[rows] = np.where(move == 0, many, 0)
            if len(who := emits.nonzero()[0]):
                symbol = symbol[who]
                sure = _confidence(self._symbols(logits[who, last[who]]), symbol)
                frames, who = state["frame"][rows[who]] + here[who], rows[who]
                say(said, who, symbol, frames, sure)
                store(history, who, self._after(symbol, take(history, who)))
        return said, {
            **history,
            "frame": state["frame"] + lengths,
            "skip": at - lengths,
            "decisions": decisions,
            "margin": margin,
        }

    def _after(self, symbols: np.ndarray, history: State) -> State:
        """The histories after one more symbol."""
        before = {name.removeprefix("predictor."): array for name, array in history.items() if name != "read"}
        read, after = self.predict(symbols, before)
        return {"read": read, **{f"predictor.{name}": array for name, array in after.items()}}

    def _blanks(self, frames: np.ndarray, state: State) -> State | None:
        """The state after these frames of whole rows if all of them are blanks, as most are in a live stream."""
        symbols, _, gaps = self._decide(self.join(frames, state["read"]))
        if symbols.any():
            return None
        return {
            **state,
            "frame": state["frame"] + frames.shape[1],
            "decisions": state["decisions"] + frames.shape[1],
            "margin": np.minimum(state["margin"], gaps.min(1)),
        }

    def _decide(self, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(…, outputs) → the best symbol, the frames it moves on by, and by how much it is the best."""
        symbol, _, gap = _best(logits)
        return symbol, (symbol == BLANK).astype(np.int64), gap

    def _symbols(self, logits: np.ndarray) -> np.ndarray:
        """The outputs that are symbols'."""
        return logits


class TdtGreedySearch(TransducerGreedySearch):
    """The best symbol, then the best of the ``durations`` that it may last: so many frames are passed over.

    The joiner's outputs are the symbols', then one for each duration. A blank lasts at least one frame.
    """

    def __init__(
        self,
        predict: Predict,
        join: Join,
        read: np.ndarray,
        predictor: State,
        max_symbols: int,
        durations: Sequence[int],
    ):
        super().__init__(predict, join, read, predictor, max_symbols, block=1)  # most frames ahead would be passed over
        self.durations = np.array(durations, np.int64)

    def _decide(self, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        symbol, _, gap = super()._decide(self._symbols(logits))
        if len(self.durations) == 1:
            return symbol, np.full_like(symbol, self.durations[0]), gap
        lasting = logits[..., -len(self.durations) :]
        lasting = np.where((symbol == BLANK)[..., None] & (self.durations == 0), np.float32(-np.inf), lasting)
        which, _, certain = _best(lasting)
        return symbol, self.durations[which], np.minimum(gap, certain)

    def _symbols(self, logits: np.ndarray) -> np.ndarray:
        return logits[..., : -len(self.durations)]


class ClassifySearch(NumpySearch):
    """Frames are a class's logits (B, T, V), of which the mean counts: one label for the whole recording, open to its end.

    State: ``sum`` (B, V) and ``frame`` (B,), the number of frames; ``margin`` (B,), the gap as it stands.
    """

    revises = True
    segments = False

    def __init__(self, classes: int):
        self.classes = classes

    def initial_state(self, batch_size: int, owners: Sequence[int] | None = None) -> State:
        return {
            "sum": np.zeros((batch_size, self.classes), np.float32),
            "frame": np.zeros(batch_size, np.int64),
            "margin": np.full(batch_size, np.inf, np.float32),
        }

    def step(self, x: np.ndarray, lengths: np.ndarray | None, state: State) -> tuple[Said, State]:
        batch, time = x.shape[:2]
        if time == 0:
            return nothing(batch), state
        # One frame after another, so that the sum is the same at any split.
        sums = np.concatenate([state["sum"][:, None], x], 1).cumsum(1)
        counts = np.full(batch, time) if lengths is None else lengths
        after = {"sum": sums[np.arange(batch), counts], "frame": state["frame"] + counts}
        gaps = _best(_mean(after))[2]
        return nothing(batch), {**after, "margin": np.where(counts > 0, gaps, state["margin"])}

    def partial(self, state: State) -> Said:
        """The best label so far, at the last frame; none before the first frame or where the blank is best."""
        said, mean = nothing(len(state["frame"])), _mean(state)
        label, best, _ = _best(mean)
        (rows,) = ((state["frame"] > 0) & (label != BLANK)).nonzero()
        total = _log_sum(mean)
        sure = _without_blank(best - total, mean[:, BLANK] - total)
        say(said, rows, label[rows], state["frame"][rows] - 1, sure[rows])
        return said


class FramesSearch(NumpySearch):
    """Frames are log-probabilities (B, T, V), blank 0: stretches of labels, by `audiorec.search.stretches`."""

    revises = True

    def __init__(self, rules: stretches.Rules):
        self.rules = rules

    def initial_state(self, batch_size: int, owners: Sequence[int] | None = None) -> State:
        return stretches.initial_state(batch_size)

    def step(self, x: np.ndarray, lengths: np.ndarray | None, state: State) -> tuple[Said, State]:
        return stretches.advance(x, lengths, state, self.rules)

    def partial(self, state: State) -> Said:
        """The ends of the open stretches as they stand."""
        return stretches.commit(state)[0]

    def commit(self, state: State) -> tuple[Said, State]:
        """End the open stretches; one that goes on begins anew."""
        return stretches.commit(state)


def _mean(state: State) -> np.ndarray:
    return state["sum"] / np.maximum(state["frame"], 1).astype(np.float32)[:, None]


def nothing(batch: int) -> Said:
    """No token in any row."""
    return [Hypothesis() for _ in range(batch)]


def say(said: Said, rows: np.ndarray, ids: np.ndarray, frames: np.ndarray, log_probs: np.ndarray) -> None:
    """Tokens (N,) of rows (N,), in order."""
    for row, *token in zip(rows.tolist(), ids.tolist(), frames.tolist(), log_probs.tolist(), strict=True):
        said[row].append(*token)


def _best(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(…, V) → the best index, its score, and its distance from the second best: (…)."""
    others = scores.reshape(-1, scores.shape[-1]).copy()
    index, line = others.argmax(-1), np.arange(len(others))
    best = others[line, index]
    others[line, index] = -np.inf
    gap = best - others.max(-1)
    shape = scores.shape[:-1]
    return index.reshape(shape), best.reshape(shape), gap.reshape(shape)


def _confidence(logits: np.ndarray, symbols: np.ndarray) -> np.ndarray:
    """(N, V), (N,) → (N,): the symbols' log-probabilities among all but the blank."""
    return logits[np.arange(len(symbols)), symbols] - _log_sum(logits[:, BLANK + 1 :])


def _log_sum(logits: np.ndarray) -> np.ndarray:
    """(N, V) → (N,): the logarithm of the sum of exponentials."""
    highest = logits.max(1)
    return highest + np.log(np.exp(logits - highest[:, None]).sum(1))


def _without_blank(log_probs: np.ndarray, blank: np.ndarray) -> np.ndarray:
    """Log-probabilities given that the symbol is not the blank, whose own are ``blank``."""
    with np.errstate(divide="ignore"):
        return np.minimum(log_probs - np.log(-np.expm1(blank)), 0)
