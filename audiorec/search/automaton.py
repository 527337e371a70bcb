"""``Automaton``: a weighted automaton with failure transitions, as arrays. Language models and hotwords both are one."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from audiorec_kernels import beam
from numpy.typing import NDArray

from audiorec.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from audiorec.search.tensors import Tensors

NO_KEY = np.iinfo(np.int64).max


class Automaton:
    """Scores sequences of symbols 0 … ``symbols`` − 1, whose history it keeps as one integer.

    ``arcs`` maps (state, symbol) to (weight, next state). Where a state has no arc for a symbol, its ``failure`` (weight,
    state) is taken and the symbol is tried again: the back-off of an n-gram (Allauzen, Mohri & Roark 2003), the failure
    function of Aho and Corasick (1975). State 0 is the root and needs an arc for every symbol. ``final`` is what ending in a
    state adds.
    """

    def __init__(
        self,
        symbols: int,
        arcs: Mapping[tuple[int, int], tuple[float, int]],
        failure: Sequence[tuple[float, int]],
        final: Sequence[float],
        start: int = 0,
    ):
        found = sorted((state * symbols + symbol, weight, target) for (state, symbol), (weight, target) in arcs.items())
        # The last key is greater than all others, so that every search ends at a key.
        keys, weights, targets = map(np.array, zip(*found, (NO_KEY, 0.0, 0), strict=True))
        states, retreats = [state for _, state in failure], [weight for weight, _ in failure]
        self._set(symbols, keys, weights, targets, np.array(states), np.array(retreats), np.array(final), start)

    @classmethod
    def of_arrays(cls, symbols: int, *arrays: NDArray, start: int = 0) -> "Automaton":
        """Of arcs (A + 1,), ``keys`` (``state · symbols + symbol``, ascending, at last NO_KEY), ``weights`` and ``targets``,
        and of states (S,): ``failure``, ``failure_weights`` and ``final``. They are kept, not copied."""
        self = object.__new__(cls)
        self._set(symbols, *arrays, start=start)
        return self

    @classmethod
    def null(cls, symbols: int) -> "Automaton":
        """One state, no weight."""
        keys, arcs, states = np.append(np.arange(symbols), NO_KEY), np.zeros(symbols + 1), np.zeros(1)
        return cls.of_arrays(symbols, keys, arcs, arcs.copy(), states, states.copy(), states.copy())

    def _set(
        self,
        symbols: int,
        keys: NDArray,
        weights: NDArray,
        targets: NDArray,
        failure: NDArray,
        failure_weights: NDArray,
        final: NDArray,
        start: int = 0,
    ) -> None:
        assert (keys[:symbols] == np.arange(symbols)).all(), "the root needs an arc for every symbol"
        self.symbols, self.start = symbols, start
        self.keys, self.targets, self.failure = (np.ascontiguousarray(x, np.int64) for x in (keys, targets, failure))
        floats = (np.ascontiguousarray(x, np.float32) for x in (weights, failure_weights, final))
        self.weights, self.failure_weights, self.final = floats
        self._tensors: dict[str, Tensors] = {}

    @cached_property
    def begins(self) -> NDArray:
        """(S + 1,): each state's first arc, which the native kernel finds its symbols from."""
        return np.searchsorted(self.keys, self.symbols * np.arange(self.state_count + 1))

    @cached_property
    def most(self) -> float:
        """The highest weight that any symbol has in any state."""
        own = np.full_like(self.final, -np.inf)
        np.maximum.at(own, np.arange(self.state_count).repeat(np.diff(self.begins)), self.weights[:-1])
        highest = own
        while True:  # once for each failure in a row
            after = np.maximum(own, self.failure_weights + highest[self.failure])
            after[0] = own[0]
            if np.array_equal(after, highest):
                return float(highest.max())
            highest = after

    @property
    def arc_count(self) -> int:
        return len(self.keys) - 1

    @property
    def state_count(self) -> int:
        return len(self.final)

    @cached_property
    def kernel(self) -> beam.Automaton:
        """The same as the native kernel reads it."""
        return beam.Automaton.of(self)

    def tensors(self, device: "str | object" = "cpu") -> "Tensors":
        """The same for torch, on a device, where it stays."""
        from audiorec.search.tensors import Tensors

        found = self._tensors.get(str(device))
        if found is None:
            found = self._tensors[str(device)] = Tensors.of(self, device)
        return found

    def step(self, states: "Tensor", symbols: "Tensor") -> tuple["Tensor", "Tensor"]:
        """As of ``Tensors``."""
        return self.tensors(states.device).step(states, symbols)


def common_symbols(automata: Sequence[Automaton], symbols: int | None) -> int | None:
    """The number of symbols that all automata are over. Raises UserError for one that is over others than ``symbols``."""
    for automaton in automata:
        must_fit(automaton.symbols, symbols)
        symbols = automaton.symbols
    return symbols


def must_fit(symbols: int | None, expected: int | None) -> None:
    """Raises UserError where both are known and differ: automata of another tokenizer."""
    if symbols != expected and None not in (symbols, expected):
        raise UserError(
            f"search: an automaton over {symbols} symbols does not fit a search over {expected}; "
            "make it with the tokenizer of the search's model"
        )
