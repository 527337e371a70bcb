"""One label for a whole recording: the class that scores best on the mean of its encoder frames."""

from collections.abc import Callable

import torch
from torch import Tensor

from audiorec.search.ctc import BLANK
from audiorec.search.tokens import Tokens
from audiorec.streaming import State, StreamingModule, map_state


class ClassifySearch:
    """``pool`` is a running mean over encoder frames (B, T, C), ``scores`` maps it (B, C) to log-probabilities (B, V).

    The label stays open until ``flush``: ``partial`` is the best one so far, none where that is the blank. State:
    ``pool``, the running mean's own, and ``margin`` (B,), the gap between the two best scores as they stand: below 1e-4 a
    difference in labels is a tie, not a bug.
    """

    def __init__(self, pool: StreamingModule, scores: Callable[[Tensor], Tensor]):
        self.pool = pool
        self.scores = scores

    def initial_state(self, batch_size: int, device: torch.device | str = "cpu") -> State:
        pool = map_state(lambda leaf: leaf.to(device), self.pool.initial_state(batch_size))
        return {"pool": pool, "margin": torch.full((batch_size,), torch.inf, device=device)}

    def step(self, x: Tensor, lengths: Tensor, state: State) -> tuple[Tokens, State]:
        """No tokens yet: x (B, T, C), lengths (B,) any from 0 to T."""
        empty = x.new_zeros(len(x), 0, dtype=torch.int64)
        none = Tokens(empty, empty, torch.zeros_like(lengths))
        if x.shape[1] == 0:
            return none, state
        _, _, pool = self.pool.step(x, lengths, state["pool"])
        best = self._scores(pool).topk(2).values
        margin = torch.where(lengths > 0, best[:, 0] - best[:, 1], state["margin"])
        return none, {"pool": pool, "margin": margin}

    def partial(self, state: State) -> Tokens:
        """The best label so far, at the last frame: one token a row, none before its first frame or where blank is best."""
        count = state["pool"]["count"][:, 0].long()
        label = torch.where(count > 0, self._scores(state["pool"]).argmax(1), BLANK)
        last = torch.where(label != BLANK, count - 1, 0)
        return Tokens(label[:, None], last[:, None], (label != BLANK).long())

    def flush(self, state: State) -> Tokens:
        """The label of the whole recording."""
        return self.partial(state)

    def _scores(self, pool: State) -> Tensor:
        return self.scores(self.pool.mean(pool)).float()
