"""Greedy CTC search: the best symbol of each frame, repeats merged, blanks dropped (Graves et al. 2006)."""

from collections.abc import Callable

import torch
from torch import Tensor

from audiorec.search.greedy import GreedySearch
from audiorec.search.tokens import Tokens, spoken
from audiorec.streaming import State, valid
from audiorec.text import BLANK


class CtcGreedySearch(GreedySearch):
    """``scores`` maps encoder frames (B, T, C) to log-probabilities (B, T, V), blank 0.

    State: ``last`` (B,), the best symbol of the row's last frame; ``frame`` (B,), frames seen; ``margin`` (B,), the
    smallest gap so far between the two best scores of a frame: below 1e-4 a difference in words is a tie, not a bug.
    """

    def __init__(self, scores: Callable[[Tensor], Tensor]):
        self.scores = scores

    def initial_state(self, batch_size: int, device: torch.device | str = "cpu") -> State:
        zeros = torch.zeros(batch_size, dtype=torch.int64, device=device)
        return {"last": zeros, "frame": zeros.clone(), "margin": torch.full_like(zeros, torch.inf, dtype=torch.float32)}

    def step(self, x: Tensor, lengths: Tensor, state: State) -> tuple[Tokens, State]:
        """The tokens that these frames add: x (B, T, C), lengths (B,) any from 0 to T."""
        batch, time = x.shape[:2]
        if time == 0:
            return Tokens.none(batch, x.device), state
        live = valid(lengths, time)
        scores = self.scores(x).float()
        best, symbols = scores.topk(2, dim=-1)
        best_symbol = symbols[..., 0]
        before = torch.cat([state["last"][:, None], best_symbol[:, :-1]], 1)
        new = (best_symbol != BLANK) & (best_symbol != before) & live
        frames = state["frame"][:, None] + torch.arange(time, device=x.device)
        tokens = Tokens.where(new, best_symbol, frames, spoken(best[..., 0], scores[..., BLANK]))
        last = best_symbol.gather(1, (lengths - 1).clamp(min=0)[:, None])[:, 0]
        margin = torch.where(live, best[..., 0] - best[..., 1], torch.inf).amin(1)
        return tokens, {
            "last": torch.where(lengths > 0, last, state["last"]),
            "frame": state["frame"] + lengths,
            "margin": torch.minimum(state["margin"], margin),
        }
