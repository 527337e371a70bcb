"""``Automaton``: a weighted automaton with failure transitions, as arrays. Language models and hotwords both are one."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

NO_KEY = torch.iinfo(torch.int64).max


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
        self.symbols = symbols
        self.start = start
        found = sorted((state * symbols + symbol, weight, target) for (state, symbol), (weight, target) in arcs.items())
        keys, weights, targets = map(np.array, zip(*found, strict=True))
        states, retreats = [state for _, state in failure], [weight for weight, _ in failure]
        self._set(symbols, keys, weights, targets, np.array(states), np.array(retreats), np.array(final), start)

    @classmethod
    def of_arrays(cls, symbols: int, *arrays: NDArray, start: int = 0) -> "Automaton":
        """Of arcs (A,), ``keys`` (``state · symbols + symbol``, ascending), ``weights`` and ``targets``, and of states (S,):
        ``failure``, ``failure_weights`` and ``final``. A hundred times as fast as by mappings."""
        self = object.__new__(cls)
        self._set(symbols, *arrays, start=start)
        return self

    def _set(
        self,
        symbols: int,
        keys: NDArray,
        weights: NDArray,
        targets: NDArray,
        failure: NDArray,
        failure_weights: NDArray,
        final: NDArray,
        start: int,
    ) -> None:
        assert (keys[:symbols] == np.arange(symbols)).all(), "the root needs an arc for every symbol"
        self.symbols, self.start = symbols, start
        # The last key is greater than all others, so that every search ends at a key.
        self.keys = torch.from_numpy(np.append(keys, NO_KEY))
        self.weights = torch.from_numpy(np.append(weights, 0).astype(np.float32))
        self.targets = torch.from_numpy(np.append(targets, 0))
        self.failure = torch.from_numpy(failure)
        self.failure_weights = torch.from_numpy(failure_weights.astype(np.float32))
        self.final = torch.from_numpy(final.astype(np.float32))

    @classmethod
    def room(cls, symbols: int, arcs: int, states: int, device: torch.device | str) -> "Automaton":
        """Room for others that ``write`` puts there: so many arcs and states, of which the null automaton has the first.

        The null automaton has one state and no weight.
        """
        self = object.__new__(cls)
        self.symbols, self.start = symbols, 0
        self.keys = torch.full((arcs + 1,), NO_KEY, device=device)
        self.keys[:symbols] = torch.arange(symbols, device=device)
        self.targets = torch.zeros_like(self.keys)
        self.weights = torch.zeros_like(self.keys, dtype=torch.float32)
        self.failure = torch.zeros(states, dtype=torch.int64, device=device)
        self.final = torch.zeros_like(self.failure, dtype=torch.float32)
        self.failure_weights = torch.zeros_like(self.final)
        return self

    def write(self, other: "Automaton", arc: int, state: int) -> None:
        """Another automaton, its first arc and state here. Its arcs still lead to states as it numbers them itself."""
        arcs, states = slice(arc, arc + other.arc_count), slice(state, state + other.state_count)
        self.keys[arcs] = other.keys[:-1].to(self.keys.device) + state * self.symbols
        self.failure[states] = other.failure.to(self.keys.device) + state
        self.weights[arcs], self.targets[arcs] = other.weights[:-1], other.targets[:-1]
        self.failure_weights[states], self.final[states] = other.failure_weights, other.final

    @property
    def arc_count(self) -> int:
        return len(self.keys) - 1

    @property
    def state_count(self) -> int:
        return len(self.final)

    def to(self, device: torch.device | str) -> "Automaton":
        """A copy on ``device``; itself where it is there."""
        if self.keys.device == torch.device(device):
            return self
        other = object.__new__(Automaton)
        other.__dict__ = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in self.__dict__.items()}
        return other

    def step(self, states: Tensor, symbols: Tensor) -> tuple[Tensor, Tensor]:
        """The weights and the next states of ``symbols`` after ``states``, any shapes that broadcast."""
        keys = states * self.symbols + symbols
        weights, targets = self._follow(keys.flatten())
        return weights.view(keys.shape), targets.view(keys.shape)

    def _follow(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """The same for keys (N,). It waits for the device once, and once more for each failure in a row."""
        at = torch.searchsorted(self.keys, keys)
        missing = (self.keys[at] != keys).nonzero()[:, 0]
        weights, targets = self.weights[at], self.targets[at]
        if len(missing):
            keys = keys[missing]
            states = keys // self.symbols
            more, reached = self._follow(self.failure[states] * self.symbols + keys - states * self.symbols)
            weights[missing] = self.failure_weights[states] + more
            targets[missing] = reached
        return weights, targets
