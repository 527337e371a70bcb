"""Greedy CTC search: the best symbol of each frame, repeats merged, blanks dropped (Graves et al. 2006)."""

from collections.abc import Callable

import torch
from torch import Tensor

from audiorec.search.greedy import GreedySearch
from audiorec.search.tokens import Tokens, without_blank
from audiorec.streaming import State, valid
from audiorec.text import BLANK


class CtcGreedySearch(GreedySearch):
    """``scores`` maps encoder frames (B, T, C) to log-probabilities (B, T, V), blank 0.

    State: ``last`` (B,), the best symbol of the row's last frame; ``frame`` (B,), frames seen; ``margin`` (B,), the
    smallest gap so far between the two best scores of a frame: below 1e-4 a difference in words is a tie, not a bug.
    """

    def __init__(self, scores: Callable[[Tensor], Tensor]):
        self.scores = scores

    def initial_state(self, batch_size: int, device: torch.device | str = "cpu", owner: int | Tensor = 0) -> State:
        zeros = torch.zeros(batch_size, dtype=torch.int64, device=device)
        return {"last": zeros, "frame": zeros.clone(), "margin": torch.full_like(zeros, torch.inf, dtype=torch.float32)}

    def step(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tokens, State]:
        """The tokens that these frames add: x (B, T, C), lengths (B,) any from 0 to T, or None: all of T."""
        batch, time = x.shape[:2]
        if time == 0:
            return Tokens.none(batch, x.device), state
        scores = self.scores(x).float()
        (best, second), (symbols, _) = (pair.unbind(-1) for pair in scores.topk(2, dim=-1))
        gaps = best - second
        new = (symbols != BLANK) & (symbols != torch.cat([state["last"][:, None], symbols[:, :-1]], 1))
        if lengths is None:
            last, frame = symbols[:, -1], state["frame"] + time
        else:
            live = valid(lengths, time)
            new, gaps = new & live, torch.where(live, gaps, torch.inf)
            last = symbols.gather(1, (lengths - 1).clamp(min=0)[:, None])[:, 0]
            last, frame = torch.where(lengths > 0, last, state["last"]), state["frame"] + lengths

        def frames_and_log_probs() -> tuple[Tensor, Tensor]:
            frames = state["frame"][:, None] + torch.arange(time, device=x.device)
            return frames, without_blank(best, scores[..., BLANK])

        tokens = Tokens.where(new, symbols, frames_and_log_probs)
        return tokens, {"last": last, "frame": frame, "margin": torch.minimum(state["margin"], gaps.amin(1))}
