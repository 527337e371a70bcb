"""``GreedySearch``: what the greedy searches share. They never take a token back."""

from collections.abc import Sequence

from audiorec.errors import UserError
from audiorec.search.automaton import Automaton
from audiorec.search.tokens import Tokens
from audiorec.streaming import State
from audiorec.transcript import Hypothesis


class GreedySearch:
    revises = False
    segments = True

    def add(self, automata: Sequence[Automaton]) -> int:
        """Raises UserError: nothing can help the only hypothesis. So ``owner`` is 0 in every ``initial_state``."""
        raise UserError("search: hotwords and n-grams need a beam; load with search={'kind': 'beam'}")

    def remove(self, owner: int) -> None:
        """Nothing, for nothing was added."""

    def partial(self, state: State) -> Tokens:
        """Tokens not yet committed: none."""
        return Tokens.none(len(state["frame"]), state["frame"].device)

    def commit(self, state: State) -> tuple[Tokens, State]:
        """Nothing is open that would have to be committed."""
        return Tokens.none(len(state["margin"]), state["margin"].device), state

    def flush(self, state: State) -> Tokens:
        """The tokens that the end of the stream brings: none."""
        return self.partial(state)

    def hypotheses(self, state: State, row: int) -> list[Hypothesis]:
        """What may follow the committed tokens of a row if the stream ends here: nothing more."""
        return [Hypothesis()]
