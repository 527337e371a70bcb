"""Labelled stretches, from a label's probability at each frame."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from audiorec.search.greedy import GreedySearch
from audiorec.search.stretches import Rules, advance, commit, initial_state
from audiorec.search.tokens import Tokens
from audiorec.streaming import State
from audiorec.transcript import Hypothesis


class FramesSearch(GreedySearch):
    """``scores`` maps encoder frames (B, T, C) to log-probabilities (B, T, V), blank 0, which is no label.

    A stretch of a label is two tokens of it, at its first frame and at its last (`audiorec.search.stretches`, which has the
    state); the first is committed once it has begun, ``partial`` ends it at the last frame that it has so far.
    """

    revises = True

    def __init__(self, scores: Callable[[Tensor], Tensor], rules: Rules):
        self.scores = scores
        self.rules = rules

    def initial_state(self, batch_size: int, device: torch.device | str = "cpu", owner: int | Tensor = 0) -> State:
        return _tensors(initial_state(batch_size), device)

    def step(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tokens, State]:
        """The tokens that these frames commit: x (B, T, C), lengths (B,) any from 0 to T, or None: all of T."""
        if x.shape[1] == 0:
            return Tokens.none(len(x), x.device), state
        counts = None if lengths is None else lengths.cpu().numpy()
        scores = self.scores(x).float().detach().cpu().numpy()
        said, after = advance(scores, counts, _arrays(state), self.rules)
        return Tokens.stack(said, x.device), _tensors(after, x.device)

    def partial(self, state: State) -> Tokens:
        """The ends of the open stretches as they stand."""
        return self.commit(state)[0]

    def commit(self, state: State) -> tuple[Tokens, State]:
        """End the open stretches; one that goes on begins anew."""
        device = state["frame"].device
        said, after = commit(_arrays(state))
        return Tokens.stack(said, device), _tensors(after, device)

    def hypotheses(self, state: State, row: int) -> list[Hypothesis]:
        """The end of the open stretch, if there is one."""
        return [self.partial(state).hypothesis(row)]


def _arrays(state: State) -> dict[str, np.ndarray]:
    return {name: leaf.cpu().numpy() for name, leaf in state.items()}


def _tensors(state: dict[str, np.ndarray], device: torch.device | str) -> State:
    return {name: torch.from_numpy(leaf).to(device) for name, leaf in state.items()}
