"""One label for a whole recording: the class that scores best on the mean of its encoder frames."""

from collections.abc import Callable

import torch
from torch import Tensor

from audiorec.search.greedy import GreedySearch
from audiorec.search.tokens import Tokens, without_blank
from audiorec.streaming import State, StreamingModule, map_state
from audiorec.text import BLANK
from audiorec.transcript import Hypothesis


class ClassifySearch(GreedySearch):
    """``pool`` is a running mean over encoder frames (B, T, C), ``scores`` maps it (B, C) to log-probabilities (B, V).

    The label stays open until ``flush``: ``partial`` is the best one so far, none where that is the blank. State:
    ``pool``, the running mean's own, and ``margin`` (B,), the gap between the two best scores as they stand: below 1e-4 a
    difference in labels is a tie, not a bug.
    """

    revises = True
    segments = False  # the label is that of the whole recording

    def __init__(self, pool: StreamingModule, scores: Callable[[Tensor], Tensor]):
        self.pool = pool
        self.scores = scores

    def initial_state(self, batch_size: int, device: torch.device | str = "cpu", owner: int | Tensor = 0) -> State:
        pool = map_state(lambda leaf: leaf.to(device), self.pool.initial_state(batch_size))
        return {"pool": pool, "margin": torch.full((batch_size,), torch.inf, device=device)}

    def step(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tokens, State]:
        """No tokens yet: x (B, T, C), lengths (B,) any from 0 to T, or None: all of T."""
        none = Tokens.none(len(x), x.device)
        if x.shape[1] == 0:
            return none, state
        _, _, pool = self.pool.step(x, lengths, state["pool"])
        best = self._scores(pool).topk(2).values
        margin = best[:, 0] - best[:, 1]
        if lengths is not None:
            margin = torch.where(lengths > 0, margin, state["margin"])
        return none, {"pool": pool, "margin": margin}

    def partial(self, state: State) -> Tokens:
        """The best label so far, at the last frame: one token a row, none before its first frame or where blank is best."""
        count = state["pool"]["count"][:, 0].long()
        scores = self._scores(state["pool"])
        best, label = scores.max(1)
        heard = (count > 0) & (label != BLANK)
        sure = without_blank(best, scores[:, BLANK])
        return Tokens.where(heard[:, None], label[:, None], lambda: (count[:, None] - 1, sure[:, None]))

    def hypotheses(self, state: State, row: int) -> list[Hypothesis]:
        """The label alone."""
        return [self.partial(state).hypothesis(row)]

    def _scores(self, pool: State) -> Tensor:
        return self.scores(self.pool.mean(pool)).float()
