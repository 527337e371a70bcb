"""The inner loop of beam searches (csrc/beam.cpp), on plain arrays: torch's on a CPU or numpy's. Knows no torch."""

import ctypes
import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from audiorec_kernels.library import ABSENT, LIBRARY, function

__all__ = ["ABSENT", "LIBRARY", "Automata", "Automaton", "Beam"]

_INTEGER, _POINTER = ctypes.c_int64, ctypes.c_void_p

# The leaves of a search's state that it changes, and the names that csrc/beam.h has for them.
LEAVES = {
    "score": "score",
    "bonus": "bonus",
    "automata": "states",
    "last": "last",
    "hash": "hash",
    "parent": "parent",
    "history.ids": "ids",
    "history.frames": "frames",
    "history.log_probs": "log_probs",
    "history.length": "length",
    "words.node": "node",
    "words.lm": "lm",
    "words.last": "last_word",
    "history.words": "words",
    "own.blank": "blank",
    "own.symbol": "symbol",
    "frame": "frame",
    "margin": "margin",
}


class Automaton(ctypes.Structure):
    """An automaton's arrays, contiguous: int64, but the weights float32. ``most``: no symbol weighs more, in any state."""

    _fields_ = (
        *[(name, _POINTER) for name in ("keys", "weights", "targets", "begins", "failure", "failure_weights", "final")],
        ("symbols", _INTEGER),
        ("states", _INTEGER),
        ("most", ctypes.c_double),
    )

    @classmethod
    def of(cls, automaton: Any) -> "Automaton":
        """Of anything that has these arrays by these names; it must outlive this."""
        arrays = [address(getattr(automaton, name)) for name, kind in cls._fields_ if kind is _POINTER]
        return cls(*arrays, automaton.symbols, len(automaton.final), automaton.most)


class Automata:
    """Sets of F automata, one for each owner that a row may have, or one set for all rows."""

    def __init__(self, sets: Sequence[Sequence[Automaton]]):
        self.count = len(sets[0])
        self.array = (Automaton * (len(sets) * self.count))(*(one for automata in sets for one in automata))


class Words(ctypes.Structure):
    """A lexicon's tree and what scores its words: arrays as of ``Automaton``, ``silent`` and ``begins`` bool."""

    _fields_ = (
        *[
            (name, _POINTER)
            for name in ("first", "symbol", "ends", "word", "weight", "ahead", "silent", "begins", "lm")
        ],
        *[(name, _INTEGER) for name in ("spelling", "unknown")],
        *[(name, ctypes.c_double) for name in ("unk_score", "most")],
    )

    @classmethod
    def of(cls, words: Any) -> "Words":
        """Of anything that has these by these names, the tree in its ``lexicon``; it must outlive this."""
        tree = [address(getattr(words.lexicon, name)) for name in ("first", "symbol", "ends", "word", "weight")]
        own = [address(getattr(words, name)) for name in ("ahead", "silent", "begins")]
        unk_score = math.nan if words.unk_score is None else words.unk_score
        lm = ctypes.addressof(words.lm.kernel)
        return cls(*tree, *own, lm, words.spelling, words.unknown, unk_score, words.most)


class _Call(ctypes.Structure):
    _fields_ = (
        *[
            (name, _INTEGER)
            for name in ("bytes", "batch", "time", "symbols", "beam", "tried", "window", "columns", "at")
        ],
        *[
            (name, _POINTER)
            for name in ("scores", "gains", "lengths", *LEAVES.values(), "dropped", "automata", "lexicon", "owner")
        ],
        *[(name, _POINTER) for name in ("said", "source", "token")],
        ("threshold", ctypes.c_double),
    )


class Beam:
    """The hypotheses of B rows, of which up to T frames are searched.

    ``state`` holds the leaves of a search's state by their dotted names: contiguous arrays, which are written to. ``tried``
    tokens are tried after each hypothesis; rows have ``frames`` (B,) int64, or None: all of T. Hypotheses that score more than
    ``threshold`` below the best are dropped.

    Its ``lengths`` (B,) are the numbers of tokens that rows have committed.
    """

    def __init__(
        self,
        state: Mapping[str, Any],
        time: int,
        frames: Any,
        tried: int,
        automata: Automata | None = None,
        words: Words | None = None,
        threshold: float | None = None,
    ):
        batch, beam, window = state["history.ids"].shape
        self._kept = state, frames, automata, words  # their memory is used
        leaves = [address(state.get(leaf)) for leaf in (*LEAVES, "dropped")]
        sizes = ctypes.sizeof(_Call), batch, time, 0, beam, tried, window, 0, 0
        call = self._call = _Call(*sizes, None, None, address(frames), *leaves)
        self._said = np.zeros(batch + (7 * batch * time + 1) // 2, np.int64)  # ``lengths`` and ``said`` in one piece
        self.lengths = self._said[:batch]
        call.said = address(self._said)
        call.threshold = math.inf if threshold is None else threshold
        if words is not None:
            call.lexicon = ctypes.addressof(words)
        if automata is not None:
            call.columns = automata.count
            call.automata = ctypes.addressof(automata.array)
            call.owner = address(state.get("owner"))

    @property
    def said(self) -> tuple[np.ndarray, ...]:
        """The ids, frames, log-probabilities and words (B, T) that rows have committed, of which ``lengths`` (B,) are there."""
        batch, size = self._call.batch, self._call.batch * self._call.time
        _, ids, frames, words, rest = np.split(self._said, [batch + i * size for i in range(4)])
        return tuple(part.reshape(batch, -1) for part in (ids, frames, rest.view(np.float32)[:size], words))

    def final(self) -> np.ndarray:
        """The scores (B, K) that hypotheses have if the stream ends here."""
        scores = np.empty((self._call.batch, self._call.beam), np.float32)
        self._checked(_function("beam_final", _POINTER)(ctypes.addressof(self._call), scores.ctypes.data))
        return scores

    def ctc(self, scores: Any, threads: int = 1) -> None:
        """Search log-probabilities (B, T, V)."""
        self._run("ctc_beam", scores, threads)

    def transducer(self, at: int, scores: Any, gains: Any = None, threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Frame ``at``, of log-probabilities (B, K, V) after each hypothesis: where each new one comes from, and its new token,
        0 where it has none (B, K). ``gains`` (B, K, V) are what each symbol gains beside."""
        if not self._call.source:
            shape = scores.shape[:2]
            self._moves = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
            self._call.source, self._call.token = map(address, self._moves)
        self._call.at, self._call.gains = at, address(gains)
        self._run("transducer_beam", scores, threads)
        return self._moves

    def _run(self, name: str, scores: Any, threads: int) -> None:
        self._call.symbols, self._call.scores = scores.shape[-1], address(scores)
        self._checked(_function(name, _INTEGER)(ctypes.addressof(self._call), threads))

    @staticmethod
    def _checked(failed: int) -> None:
        if failed == 1:
            raise MemoryError("beam search: no memory for the hypotheses of a row")
        if failed:
            raise RuntimeError("beam search: the native library is of another version than the package; install again")


@cache
def _function(name: str, argument: Any) -> Any:
    """A function of a call and one more argument."""
    return function(name, (_POINTER, argument), _INTEGER)


def address(array: Any) -> int | None:
    """Where an array lies: numpy's, or torch's on a CPU; None for None."""
    if array is None:
        return None
    return array.ctypes.data if type(array) is np.ndarray else array.data_ptr()
