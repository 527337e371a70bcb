"""``GreedySearch``: what the greedy searches share. They never take a token back."""

from audiorec.search.tokens import Tokens
from audiorec.streaming import State
from audiorec.transcript import Hypothesis


class GreedySearch:
    revises = False
    segments = True

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
