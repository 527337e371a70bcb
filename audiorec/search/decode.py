"""``decode``: whole utterances through a search. ``conclude``: the end of streams that were searched in steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from audiorec.search.tokens import Hypothesis, Tokens
from audiorec.streaming import State


class Search(Protocol):
    """What every search offers (docs/design.md, section 2)."""

    def initial_state(self, batch_size: int, device: torch.device | str = "cpu") -> State:
        """The state of streams that have not begun; its ``margin`` (B,) is the gap of the two best scores."""

    def step(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tokens, State]:
        """The tokens that encoder frames x (B, T, C), of which ``lengths`` (B,) are valid, commit."""

    def partial(self, state: State) -> Tokens:
        """The best hypothesis's tokens that are not committed yet."""

    def flush(self, state: State) -> Tokens:
        """The tokens that the end of the stream commits."""

    def hypotheses(self, state: State, row: int) -> list[Hypothesis]:
        """The ends that a row's committed tokens may have if its stream ends here, best first."""


@dataclass(frozen=True)
class Decoded:
    """The hypotheses of one utterance, best first. ``margin``: the gap of the two best scores, which rounding may close."""

    best: Hypothesis
    nbest: list[Hypothesis]
    margin: float


def decode(search: Search, x: Tensor, lengths: Tensor) -> list[Decoded]:
    """Search whole utterances: encoder frames x (B, T, C), lengths (B,) → one result a row."""
    tokens, state = search.step(x, lengths, search.initial_state(len(x), x.device))
    return conclude(search, state, [tokens.hypothesis(row) for row in range(len(x))])


def conclude(search: Search, state: State, committed: Sequence[Hypothesis]) -> list[Decoded]:
    """End the streams whose steps committed these tokens, one hypothesis a row, and arrived at ``state``."""
    last, margins = search.flush(state), state["margin"].tolist()
    return [
        Decoded(
            before + last.hypothesis(row), [before + end for end in search.hypotheses(state, row)], float(margins[row])
        )
        for row, before in enumerate(committed)
    ]
