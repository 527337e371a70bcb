"""Torch's beam searches in numpy, of CTC and of transducers; their inner loop is the same native kernel."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from audiorec_kernels.beam import LEAVES, Beam

from audiorec.errors import UserError
from audiorec.runtime.owners import Owners
from audiorec.runtime.search import Join, NumpySearch, Predict, Said
from audiorec.runtime.state import State, repeat, store, take
from audiorec.search.automaton import Automaton
from audiorec.search.words import ROOT, Words
from audiorec.text import BLANK
from audiorec.transcript import Hypothesis

NEVER = np.float32(-np.inf)


class BeamSearch(NumpySearch):
    """Options and state are those of ``audiorec.search.beam.BeamSearch``; ``symbols`` are the tokenizer's."""

    revises = True

    def __init__(
        self,
        beam: int,
        window: int,
        automata: Sequence[Automaton],
        columns: int,
        symbols: int,
        words: Words | None = None,
        threshold: float | None = None,
    ):
        self.beam = beam
        self.threshold = threshold
        self.window = window
        self.automata = Owners(columns, automata, symbols)
        self.words = words

    @abstractmethod
    def initial_own(self, batch_size: int) -> State:
        """The subclass's part of the state, its names beginning with ``own.``; hypothesis 0 alone is alive."""

    @abstractmethod
    def alone(self, own: State, score: np.ndarray) -> State:
        """The subclass's part of the one hypothesis that is left, whose ``score`` (B, 1) counts as 0 from now on."""

    def add(self, automata: Sequence[Automaton]) -> int:
        return self.automata.add(automata)

    def remove(self, owner: int) -> None:
        self.automata.remove(owner)

    def initial_state(self, batch_size: int, owners: Sequence[int] | None = None) -> State:
        owner = np.array(owners or [0] * batch_size, np.int64)
        ints = np.zeros((batch_size, self.beam), np.int64)
        starts = [[one.start for one in self.automata.of(int(i))] for i in owner]
        state = {
            "owner": owner,
            "automata": np.array(starts, np.int64).reshape(batch_size, 1, -1).repeat(self.beam, 1),
            **self._one_alive(batch_size),
            "last": ints,
            "hash": ints + 1,
            "parent": ints.copy(),
            **self.initial_own(batch_size),
            "frame": np.zeros(batch_size, np.int64),
            "margin": np.full(batch_size, np.inf, np.float32),
            "dropped": np.full(batch_size, np.inf, np.float32),
        }
        if self.words:
            lm = np.full_like(ints, self.words.lm.start)
            state |= {"words.node": np.full_like(ints, ROOT), "words.lm": lm, "words.last": ints.copy()}
        return state

    def begin(self, time: int, lengths: np.ndarray | None, state: State, tried: int) -> tuple[Beam, State]:
        """The kernel on a copy of what it changes in a state, and that copy. Hypotheses try ``tried`` tokens at most."""
        after = {name: array.copy() if name in LEAVES else array for name, array in state.items()}
        lengths = None if lengths is None else np.ascontiguousarray(lengths, np.int64)
        return self._kernel(after, time, lengths, min(tried, self.automata.symbols - 1)), after

    @property
    def helped(self) -> bool:
        """Whether more than the model's scores may choose among tokens, so that more of them must be tried."""
        return bool(self.automata or self.words)

    def said(self, beam: Beam) -> Said:
        """What was committed."""
        if not beam.lengths.any():
            return [Hypothesis() for _ in beam.lengths]
        ids, frames, log_probs, words = beam.said
        return [
            self._hypothesis(ids[row, :n], frames[row, :n], log_probs[row, :n], words[row, :n])
            for row, n in enumerate(beam.lengths)
        ]

    def partial(self, state: State) -> Said:
        return self._tokens(state, np.zeros_like(state["frame"]))

    def commit(self, state: State) -> tuple[Said, State]:
        best = self._final(state).argmax(1)
        rows = np.arange(len(best))
        names = ("automata", "last", "hash", "parent", *(name for name in state if name.startswith(("own.", "words."))))
        kept = {name: state[name][rows, best][:, None].repeat(self.beam, 1) for name in names}
        own = {name: kept[name] for name in kept if name.startswith("own.")}
        if self.words:
            kept["words.node"] = np.full_like(kept["words.node"], ROOT)
        return self._tokens(state, best), {
            **state,
            **kept,
            **self.alone(own, state["score"][rows, best][:, None]),
            **self._one_alive(len(best)),
            "dropped": state["margin"],
        }

    def hypotheses(self, state: State, row: int) -> list[Hypothesis]:
        state = take(state, [row])
        scores = self._final(state)[0]
        order = (-scores).argsort(kind="stable")
        found = []
        for k in order[scores[order] > NEVER]:
            (hypothesis,) = self._tokens(state, np.array([k]))
            hypothesis.score = float(scores[k] - scores[order[0]])
            found.append(hypothesis)
        return found

    def _one_alive(self, rows: int) -> State:
        """Hypothesis 0, which has said nothing yet."""
        ids = np.zeros((rows, self.beam, self.window), np.int64)
        score = np.full((rows, self.beam), NEVER)
        score[:, 0] = 0
        return {
            "score": score,
            "bonus": np.zeros_like(score),
            "history.ids": ids,
            "history.frames": ids.copy(),
            "history.log_probs": np.zeros(ids.shape, np.float32),
            **({"history.words": ids.copy()} if self.words else {}),
            "history.length": np.zeros(ids.shape[:2], np.int64),
        }

    def _tokens(self, state: State, which: np.ndarray) -> Said:
        said = []
        for row, k in enumerate(which):
            count = state["history.length"][row, k]
            ids, frames, log_probs = (
                state[f"history.{name}"][row, k, :count] for name in ("ids", "frames", "log_probs")
            )
            words = state["history.words"][row, k, :count] if self.words else None
            said.append(self._hypothesis(ids, frames, log_probs, words))
        return said

    def _hypothesis(
        self, ids: np.ndarray, frames: np.ndarray, log_probs: np.ndarray, words: np.ndarray | None
    ) -> Hypothesis:
        named = [self.words.texts[word] for word in words.tolist()] if self.words and words is not None else []
        return Hypothesis(ids.tolist(), frames.tolist(), log_probs.tolist(), words=named)

    def _final(self, state: State) -> np.ndarray:
        """(B, K): the scores that hypotheses have if the stream ends here."""
        return self._kernel({name: np.ascontiguousarray(array) for name, array in state.items()}, 0, None, 0).final()

    def _kernel(self, state: State, time: int, lengths: np.ndarray | None, tried: int) -> Beam:
        automata = self.automata.kernel() if self.automata else None
        return Beam(state, time, lengths, tried, automata, self.words.kernel if self.words else None, self.threshold)


class CtcBeamSearch(BeamSearch):
    """Frames are log-probabilities (B, T, V), blank 0; of them ``priors`` (V,), weighted logs, are taken off."""

    def __init__(self, *options: Any, priors: np.ndarray | None = None):
        super().__init__(*options)
        self.priors = priors

    def initial_own(self, batch_size: int) -> State:
        never = np.full((batch_size, self.beam), NEVER)
        blank = never.copy()
        blank[:, 0] = 0
        return {"own.blank": blank, "own.symbol": never}

    def alone(self, own: State, score: np.ndarray) -> State:
        first = np.arange(self.beam) == 0
        return {name: np.where(first, array - score, NEVER) for name, array in own.items()}

    def step(self, x: np.ndarray, lengths: np.ndarray | None, state: State) -> tuple[Said, State]:
        if x.shape[2] != self.automata.symbols:
            raise UserError(f"search: frames have {x.shape[2]} scores, and its symbols are {self.automata.symbols}")
        if self.priors is not None:
            x = _log_softmax(x - self.priors)
        beam, after = self.begin(x.shape[1], lengths, state, (4 if self.helped else 1) * self.beam + 1)
        beam.ctc(np.ascontiguousarray(x, np.float32))
        return self.said(beam), after


class TransducerBeamSearch(BeamSearch):
    """Frames (B, T, J) are as the joiner reads them; at most one symbol a frame. The parts are those of the greedy search, and
    ``ilm_weight`` is torch's."""

    def __init__(
        self, predict: Predict, join: Join, read: np.ndarray, predictor: State, *options: Any, ilm_weight: float = 0.0
    ):
        super().__init__(*options)
        self.predict = predict
        self.join = join
        self.ilm_weight = ilm_weight
        self._begin = {"own.read": read, **{f"own.predictor.{name}": array for name, array in predictor.items()}}

    def initial_own(self, batch_size: int) -> State:
        return self._by_row(repeat(self._begin, batch_size * self.beam))

    def alone(self, own: State, score: np.ndarray) -> State:
        return own

    def step(self, x: np.ndarray, lengths: np.ndarray | None, state: State) -> tuple[Said, State]:
        helped = self.helped or self.ilm_weight
        beam, after = self.begin(x.shape[1], lengths, state, (4 if helped else 1) * self.beam)
        rows = np.arange(len(x))[:, None] * self.beam
        own = {name: state[name].reshape(-1, *state[name].shape[2:]) for name in self._begin}  # of all hypotheses
        gains = self._gains(own["own.read"])
        for t in range(x.shape[1]):
            logits = self.join(x[:, t].repeat(self.beam, 0)[:, None], own["own.read"])
            source, token = beam.transducer(t, _log_softmax(logits).reshape(len(x), self.beam, -1), gains)
            came, new = (rows + source).ravel(), token.ravel().nonzero()[0]
            if len(new) or (source != np.arange(self.beam)).any():
                own = take(own, came)
                if len(new):
                    store(own, new, self._grown(token.ravel()[new], take(own, new)))
                gains = self._gains(own["own.read"])
        return self.said(beam), {**after, **self._by_row(own)}

    def _grown(self, symbols: np.ndarray, own: State) -> State:
        before = {name.removeprefix("own.predictor."): array for name, array in own.items() if name != "own.read"}
        read, after = self.predict(symbols, before)
        return {"own.read": read, **{f"own.predictor.{name}": array for name, array in after.items()}}

    def _gains(self, read: np.ndarray) -> np.ndarray | None:
        """What each symbol gains beside the model's score (B, K, V): less of what the joiner expects, had it heard nothing."""
        if not self.ilm_weight:
            return None
        gains = np.zeros((len(read), self.automata.symbols), np.float32)
        logits = self.join(np.zeros_like(read)[:, None], read)[..., BLANK + 1 :]
        gains[:, BLANK + 1 :] = -self.ilm_weight * _log_softmax(logits)[:, 0]
        return gains.reshape(-1, self.beam, gains.shape[1])

    def _by_row(self, own: State) -> State:
        return {name: array.reshape(-1, self.beam, *array.shape[1:]) for name, array in own.items()}


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    logits = logits - logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))
