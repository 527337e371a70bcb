"""Heads: what turns encoder frames into tokens. A head owns its projection, its loss and its search."""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from audiorec.config import Config, Registry
from audiorec.losses import ctc_loss
from audiorec.search import GREEDY, Alignment, Automaton, CtcBeamSearch, CtcGreedySearch, SearchConfig, align_ctc

HEADS = Registry("heads")


class CtcConfig(Config):
    kind: Literal["ctc"] = "ctc"
    weight: float = Field(1.0, gt=0, description="of its loss in the sum over heads")


@HEADS.register
class CtcHead(nn.Module):
    """Log-probabilities of each frame: (B, T, dim) → (B, T, vocabulary), blank 0."""

    Config = CtcConfig

    def __init__(self, config: CtcConfig, dim: int, vocabulary: int):
        super().__init__()
        self.weight = config.weight
        self.linear = nn.Linear(dim, vocabulary)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.linear(x)
        return logits.log_softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))

    def score_frames(self, x: Tensor) -> Tensor:
        """Scores of encoder frames (B, T, dim), by the operations of a greedy stream: `audiorec info` counts them."""
        return self(x)

    def losses(self, x: Tensor, lengths: Tensor, tokens: Tensor, token_lengths: Tensor) -> Tensor:
        """(B,): encoder frames x (B, T, dim), tokens (B, S) with their lengths."""
        return ctc_loss(self(x), lengths, tokens, token_lengths)

    def search(
        self, config: SearchConfig = GREEDY, automata: Sequence[Automaton] = ()
    ) -> CtcGreedySearch | CtcBeamSearch:
        if config.kind == "greedy":
            return CtcGreedySearch(self)
        return CtcBeamSearch(self, config.beam, config.window, automata)

    def align(self, x: Tensor, lengths: Tensor, tokens: Tensor, token_lengths: Tensor) -> Alignment:
        """Where the tokens lie; arguments as for ``losses``."""
        return align_ctc(self(x), lengths, tokens, token_lengths)
