"""``decode``: whole utterances through a search. ``conclude``: the end of streams that were searched in steps."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from audiorec.search.automaton import Automaton
from audiorec.search.tokens import Tokens
from audiorec.streaming import State
from audiorec.transcript import Ending, Hypothesis


class Search(Protocol):
    """What every search offers (docs/design.md, section 2)."""

    revises: bool
    """whether the best hypothesis may hold tokens that are not committed"""
    segments: bool
    """whether a stream may end in the middle, as it does where a segment of speech ends"""

    def add(self, automata: Sequence[Automaton]) -> int:
        """The ``owner`` for streams with automata of their own. Raises UserError where the search takes none."""

    def remove(self, owner: int) -> None:
        """Take them out again once no stream needs them."""

    def initial_state(self, batch_size: int, device: torch.device | str = "cpu", owner: int | Tensor = 0) -> State:
        """The state of streams that have not begun; its ``margin`` (B,) is the gap of the two best scores.

        ``owner``: what ``add`` gave for these streams, or for each of them (B,); 0: the search's own automata, or none.
        """

    def step(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tokens, State]:
        """The tokens that encoder frames x (B, T, C), of which ``lengths`` (B,) are valid, commit."""

    def partial(self, state: State) -> Tokens:
        """The best hypothesis's tokens that are not committed yet."""

    def commit(self, state: State) -> tuple[Tokens, State]:
        """Commit all tokens of the best hypothesis; those that say otherwise are dropped, and the search goes on."""

    def flush(self, state: State) -> Tokens:
        """The tokens that the end of the stream commits."""

    def hypotheses(self, state: State, row: int) -> list[Hypothesis]:
        """The ends that a row's committed tokens may have if its stream ends here, best first."""


def decode(search: Search, x: Tensor, lengths: Tensor) -> list[tuple[Hypothesis, Ending]]:
    """Search whole utterances: encoder frames x (B, T, C), lengths (B,) → each row's committed tokens, and how it ends."""
    tokens, state = search.step(x, lengths, search.initial_state(len(x), x.device))
    return list(zip([tokens.hypothesis(row) for row in range(len(x))], conclude(search, state), strict=True))


def conclude(search: Search, state: State) -> list[Ending]:
    """End the streams that arrived at ``state``: what may follow their committed tokens, one a row."""
    return [Ending(search.hypotheses(state, row), margin) for row, margin in enumerate(state["margin"].tolist())]
