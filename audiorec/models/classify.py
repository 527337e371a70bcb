"""The classify head: one label for a whole recording, for keyword work."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from audiorec.errors import ConfigError
from audiorec.models.heads import HEADS, HeadConfig, LinearHead
from audiorec.models.pooling import RunningMean
from audiorec.search import GREEDY, Automaton, ClassifySearch, Fusion, SearchConfig, Words
from audiorec.text import BLANK


class ClassifyConfig(HeadConfig):
    kind: Literal["classify"] = "classify"


@HEADS.register
class ClassifyHead(LinearHead):
    """One label for a whole recording, from the mean of its frames: log-probabilities (…, dim) → (…, vocabulary).

    Classes are the ids of a ``word`` tokenizer, whose transcripts are one word each. The first two mean what they mean
    everywhere: ``<blk>`` is a recording without a word (an empty transcript), ``<unk>`` one with a word that is no class.
    """

    Config = ClassifyConfig
    allows_empty_text = True
    names_labels = True

    def __init__(self, config: ClassifyConfig, dim: int, vocabulary: int):
        super().__init__(config, dim, vocabulary)
        self.pool = RunningMean(dim)

    def losses(self, x: Tensor, lengths: Tensor, tokens: Tensor, token_lengths: Tensor) -> Tensor:
        """(B,): cross-entropy of encoder frames x (B, T, dim) with tokens (B, S); +inf for transcripts of several words."""
        _, _, state = self.pool.step(x, lengths)
        padded = F.pad(tokens, (0, 1), value=BLANK)  # tokens (B, 0) too have a first column now
        label = torch.where(token_lengths > 0, padded[:, 0], BLANK)
        losses = F.nll_loss(self(self.pool.mean(state)), label, reduction="none")
        return torch.where(token_lengths <= 1, losses, torch.inf)

    def search(
        self,
        config: SearchConfig = GREEDY,
        automata: Sequence[Automaton] = (),
        columns: int = 0,
        words: Words | None = None,
        fusion: Fusion | None = None,
    ) -> ClassifySearch:
        """Raises ConfigError for any but the greedy search."""
        if config.kind != "greedy":
            raise ConfigError(
                f"search: a classify head gives one label, search {config.kind} needs tokens; leave it greedy"
            )
        return ClassifySearch(self.pool, self)
