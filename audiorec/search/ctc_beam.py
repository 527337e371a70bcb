"""CTC prefix beam search: the likeliest token sequences, each the sum over its alignments (Graves 2008; Hannun et al. 2014)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from audiorec.search import native
from audiorec.search.automaton import Automaton
from audiorec.search.beam import BeamSearch, Choice, Expansion
from audiorec.search.fusion import Fusion
from audiorec.search.tokens import Tokens
from audiorec.search.words import Words
from audiorec.streaming import State, map_state
from audiorec.text import BLANK


class CtcBeamSearch(BeamSearch):
    """``scores`` maps encoder frames (B, T, C) to log-probabilities (B, T, V), blank 0.

    Its own state: ``blank`` and ``symbol`` (B, K), the score of each hypothesis over the alignments that end in a blank, and
    in its last token.
    """

    def __init__(
        self,
        scores: Callable[[Tensor], Tensor],
        beam: int = 4,
        window: int = 64,
        automata: Sequence[Automaton] = (),
        columns: int = 0,
        symbols: int | None = None,
        words: Words | None = None,
        fusion: Fusion | None = None,
        threshold: float | None = None,
    ):
        super().__init__(beam, window, automata, columns, symbols, words, fusion, threshold)
        self.scores = scores

    def prepare(self, x: Tensor) -> Tensor:
        return self.scores(x).float()

    def initial_own(self, batch_size: int, device: torch.device | str) -> State:
        never = torch.full((batch_size, self.beam), -torch.inf, device=device)
        return {"blank": never.index_fill(1, torch.tensor(0, device=device), 0.0), "symbol": never}

    def alone(self, own: State, score: Tensor) -> State:
        return map_state(
            lambda leaf: (leaf - score).index_fill(1, torch.arange(1, self.beam, device=score.device), -torch.inf), own
        )

    def native(self, frames: Tensor, lengths: Tensor | None, state: State) -> tuple[Tokens, State]:
        return native.ctc(self, frames, lengths, state)

    def expand(self, frame: Tensor, state: State) -> tuple[Expansion, Tensor]:
        own, last, score = state["own"], state["last"], state["score"]
        # One more than are tried, for a token after itself scores lower than here.
        best, tokens = frame[:, BLANK + 1 :].topk(min(self.tried + 1, frame.shape[1] - 1))
        tokens = (tokens + BLANK + 1)[:, None].expand(-1, self.beam, -1)
        again = frame.gather(1, last)
        # A token after itself needs a blank between.
        before = torch.where(tokens == last[..., None], own["blank"][..., None], score[..., None])
        joining = torch.where(last[..., None] == last[:, None], own["blank"][..., None], score[..., None])
        stay = torch.logaddexp(score + frame[:, :1], own["symbol"] + again)
        return Expansion(stay, tokens, before + best[:, None], joining + again[:, None]), frame[:, None]

    def settle(self, frame: Tensor, state: State, choice: Choice) -> State:
        blank = (state["score"] + frame[:, :1]).gather(1, choice.source)
        symbol = torch.logaddexp(state["own"]["symbol"] + frame.gather(1, state["last"]), choice.arriving)
        own = {
            "blank": blank.masked_fill(~choice.stays, -torch.inf),
            "symbol": torch.where(choice.stays, symbol.gather(1, choice.source), choice.score),
        }
        return {name: (leaf - choice.best).masked_fill(~choice.alive, -torch.inf) for name, leaf in own.items()}
