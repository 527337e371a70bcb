"""``Tensors``: the arrays of automata for torch, on any device."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from audiorec.search.automaton import Automaton

NO_KEY = torch.iinfo(torch.int64).max


class Tensors:
    """An ``Automaton``, whose names these are, or room for several."""

    symbols: int
    keys: Tensor
    weights: Tensor
    targets: Tensor
    failure: Tensor
    failure_weights: Tensor
    final: Tensor

    @classmethod
    @torch.inference_mode(False)  # what is made under it cannot be used outside
    def of(cls, automaton: "Automaton", device: object) -> "Tensors":
        """On a CPU it is the automaton's own memory."""
        self = object.__new__(cls)
        self.symbols = automaton.symbols
        for name in ("keys", "weights", "targets", "failure", "failure_weights", "final"):
            setattr(self, name, torch.from_numpy(getattr(automaton, name)).to(device))
        return self

    @classmethod
    def room(cls, symbols: int, arcs: int, states: int, device: torch.device | str) -> "Tensors":
        """Room for others that ``write`` puts there: so many arcs and states, of which the null automaton has the first.

        The null automaton has one state and no weight.
        """
        self = object.__new__(cls)
        self.symbols = symbols
        self.keys = torch.full((arcs + 1,), NO_KEY, device=device)
        self.keys[:symbols] = torch.arange(symbols, device=device)
        self.targets = torch.zeros_like(self.keys)
        self.weights = torch.zeros_like(self.keys, dtype=torch.float32)
        self.failure = torch.zeros(states, dtype=torch.int64, device=device)
        self.final = torch.zeros_like(self.failure, dtype=torch.float32)
        self.failure_weights = torch.zeros_like(self.final)
        return self

    def write(self, automaton: "Automaton", arc: int, state: int) -> None:
        """An automaton, its first arc and state here. Its arcs still lead to states as it numbers them itself."""
        other = automaton.tensors(self.keys.device)
        arcs, states = slice(arc, arc + other.arc_count), slice(state, state + other.state_count)
        self.keys[arcs] = other.keys[:-1] + state * self.symbols
        self.failure[states] = other.failure + state
        self.weights[arcs], self.targets[arcs] = other.weights[:-1], other.targets[:-1]
        self.failure_weights[states], self.final[states] = other.failure_weights, other.final

    @property
    def arc_count(self) -> int:
        return len(self.keys) - 1

    @property
    def state_count(self) -> int:
        return len(self.final)

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
