"""``CtcBeamSearch``: torch's beam search of CTC in numpy, its inner loop by the same native kernel."""

from collections.abc import Sequence

import numpy as np
from audiorec_kernels.beam import LEAVES, Automata, Beam

from audiorec.errors import UserError
from audiorec.runtime.search import NumpySearch, Said, nothing, say
from audiorec.runtime.state import State
from audiorec.search.automaton import Automaton, common_symbols
from audiorec.transcript import Hypothesis

NEVER = np.float32(-np.inf)


class Owners:
    """Sets of up to ``columns`` automata. Each row has one set, by its id; set 0 is the search's own and may be empty."""

    def __init__(self, columns: int, automata: Sequence[Automaton], symbols: int):
        self.columns = max(columns, len(automata))
        self.symbols = symbols
        self._none = Automaton.null(symbols)
        self._sets: list[tuple[Automaton, ...] | None] = []
        self.add(automata)

    def __bool__(self) -> bool:
        """Whether a row may have an automaton."""
        return any(self._sets)

    def add(self, automata: Sequence[Automaton]) -> int:
        """Raises UserError where they are too many, or over other symbols than the search."""
        if len(automata) > self.columns:
            raise UserError(f"search: a row has room for {self.columns} automata, got {len(automata)}")
        common_symbols(automata, self.symbols)
        if None not in self._sets:
            self._sets.append(None)
        owner = self._sets.index(None)
        self._sets[owner] = tuple(automata)
        self._kernel: Automata | None = None
        return owner

    def remove(self, owner: int) -> None:
        self._sets[owner] = None
        self._kernel = None

    def of(self, owner: int) -> tuple[Automaton, ...]:
        """As many as there are columns; those that are missing weigh nothing."""
        automata = self._sets[owner] or ()
        return (*automata, *[self._none] * (self.columns - len(automata)))

    def kernel(self) -> Automata:
        """These as the native kernel reads them."""
        if self._kernel is None:
            self._kernel = Automata([[one.kernel for one in self.of(owner)] for owner in range(len(self._sets))])
        return self._kernel


class CtcBeamSearch(NumpySearch):
    """Frames are log-probabilities (B, T, V), blank 0. Options and state are those of ``audiorec.search.CtcBeamSearch``."""

    revises = True

    def __init__(self, beam: int, window: int, automata: Sequence[Automaton], columns: int, symbols: int):
        self.beam = beam
        self.window = window
        self.automata = Owners(columns, automata, symbols)

    def add(self, automata: Sequence[Automaton]) -> int:
        return self.automata.add(automata)

    def remove(self, owner: int) -> None:
        self.automata.remove(owner)

    def initial_state(self, batch_size: int, owners: Sequence[int] | None = None) -> State:
        owner = np.array(owners or [0] * batch_size, np.int64)
        ints = np.zeros((batch_size, self.beam), np.int64)
        starts = [[one.start for one in self.automata.of(int(i))] for i in owner]
        alone = np.full(ints.shape, NEVER)
        alone[:, 0] = 0
        return {
            "owner": owner,
            "automata": np.array(starts, np.int64).reshape(batch_size, 1, -1).repeat(self.beam, 1),
            "score": alone,
            "bonus": np.zeros(ints.shape, np.float32),
            "last": ints,
            "hash": ints + 1,
            "parent": ints.copy(),
            **self._no_history(batch_size),
            "own.blank": alone.copy(),
            "own.symbol": np.full(ints.shape, NEVER),
            "frame": np.zeros(batch_size, np.int64),
            "margin": np.full(batch_size, np.inf, np.float32),
            "dropped": np.full(batch_size, np.inf, np.float32),
        }

    def step(self, x: np.ndarray, lengths: np.ndarray | None, state: State) -> tuple[Said, State]:
        batch, time, symbols = x.shape
        if symbols != self.automata.symbols:
            raise UserError(f"search: frames have {symbols} scores, and its symbols are {self.automata.symbols}")
        after = {name: array.copy() if name in LEAVES else array for name, array in state.items()}
        if lengths is not None:
            lengths = np.ascontiguousarray(lengths, np.int64)
        helped = bool(self.automata)
        tried = min((4 if helped else 1) * self.beam + 1, symbols - 1)
        beam = Beam(after, time, lengths, tried, self.automata.kernel() if helped else None)
        beam.ctc(np.ascontiguousarray(x, np.float32))
        said = nothing(batch)
        if beam.lengths.any():
            for row, count in enumerate(beam.lengths):
                say(said, np.full(count, row), *(part[row, :count] for part in beam.said[:3]))
        return said, after

    def partial(self, state: State) -> Said:
        return self._tokens(state, np.zeros_like(state["frame"]))

    def commit(self, state: State) -> tuple[Said, State]:
        best = self._final(state).argmax(1)
        rows, first = np.arange(len(best)), np.arange(self.beam) == 0
        kept = ("automata", "last", "hash", "parent", "own.blank", "own.symbol")
        after = {name: state[name][rows, best][:, None].repeat(self.beam, 1) for name in kept}
        score = state["score"][rows, best][:, None]
        for name in ("own.blank", "own.symbol"):
            after[name] = np.where(first, after[name] - score, NEVER)
        return self._tokens(state, best), {
            **state,
            **after,
            "score": np.where(first, np.zeros_like(state["score"]), NEVER),
            "bonus": np.zeros_like(state["bonus"]),
            **self._no_history(len(best)),
            "dropped": state["margin"],
        }

    def hypotheses(self, state: State, row: int) -> list[Hypothesis]:
        scores = self._final(state)[row]
        order = (-scores).argsort(kind="stable")
        found = []
        for k in order[scores[order] > NEVER]:
            (hypothesis,) = self._tokens({name: array[[row]] for name, array in state.items()}, np.array([k]))
            hypothesis.score = float(scores[k] - scores[order[0]])
            found.append(hypothesis)
        return found

    def _no_history(self, rows: int) -> State:
        ids = np.zeros((rows, self.beam, self.window), np.int64)
        return {
            "history.ids": ids,
            "history.frames": ids.copy(),
            "history.log_probs": np.zeros(ids.shape, np.float32),
            "history.length": np.zeros(ids.shape[:2], np.int64),
        }

    def _tokens(self, state: State, which: np.ndarray) -> Said:
        said = nothing(len(which))
        for row, k in enumerate(which):
            count = state["history.length"][row, k]
            parts = (state[f"history.{name}"][row, k, :count] for name in ("ids", "frames", "log_probs"))
            say(said, np.full(count, row), *parts)
        return said

    def _final(self, state: State) -> np.ndarray:
        """(B, K): the scores with what the end of the automata adds."""
        scores = state["score"].copy()
        for row, owner in enumerate(state["owner"] if self.automata else ()):
            ends = [
                one.final[np.minimum(state["automata"][row, :, f], one.state_count - 1)]
                for f, one in enumerate(self.automata.of(int(owner)))
            ]
            scores[row] += np.sum(ends, 0, dtype=np.float32)
        return scores
