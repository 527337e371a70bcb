"""``Automaton``: a weighted automaton with failure transitions, as arrays. Language models and hotwords both are one."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


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
        keys, weights, targets = zip(*found, strict=True)
        assert keys[:symbols] == tuple(range(symbols)), "the root needs an arc for every symbol"
        self.keys = torch.tensor(keys)
        self.weights = torch.tensor(weights, dtype=torch.float32)
        self.targets = torch.tensor(targets)
        self.failure = torch.tensor([state for _, state in failure])
        self.failure_weights = torch.tensor([weight for weight, _ in failure], dtype=torch.float32)
        self.final = torch.tensor(final, dtype=torch.float32)

    def to(self, device: torch.device | str) -> "Automaton":
        """A copy on ``device``."""
        other = object.__new__(Automaton)
        other.__dict__ = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in self.__dict__.items()}
        return other

    def step(self, states: Tensor, symbols: Tensor) -> tuple[Tensor, Tensor]:
        """The weights and the next states of ``symbols`` after ``states``, any shapes that broadcast."""
        states, symbols = torch.broadcast_tensors(states, symbols)
        weights = torch.zeros(states.shape, device=states.device)
        while True:
            keys = states * self.symbols + symbols
            at = torch.searchsorted(self.keys, keys).clamp(max=len(self.keys) - 1)
            missing = self.keys[at] != keys
            if not missing.any():
                return weights + self.weights[at], self.targets[at]
            weights = torch.where(missing, weights + self.failure_weights[states], weights)
            states = torch.where(missing, self.failure[states], states)
