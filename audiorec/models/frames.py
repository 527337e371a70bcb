"""The frames head: a label for each frame, for voice activity and tagging."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt, ValidationInfo, field_validator
from torch import Tensor

from audiorec.data.targets import FRAMES, Targets
from audiorec.errors import ConfigError
from audiorec.models.heads import HEADS, HeadConfig, LinearHead
from audiorec.search import GREEDY, Automaton, FramesSearch, Fusion, SearchConfig, Words
from audiorec.search.stretches import Rules
from audiorec.streaming import mask, valid
from audiorec.text import Tokenizer


class FramesConfig(HeadConfig):
    kind: Literal["frames"] = "frames"
    onset: float = Field(0.5, gt=0, lt=1, description="probability at which a label begins")
    offset: float = Field(0.5, gt=0, lt=1, description="probability below which it ends")
    min_on: PositiveInt = Field(1, description="frames in a row that make a label begin, at the first of them")
    min_off: PositiveInt = Field(1, description="frames in a row without it that end it; a shorter pause is bridged")

    @field_validator("offset")
    @classmethod
    def _is_not_above_the_onset(cls, value: float, info: ValidationInfo) -> float:
        if value > info.data.get("onset", 1):
            raise ValueError("must not be above onset")
        return value


@HEADS.register
class FramesHead(LinearHead):
    """A label for each frame: (B, T, dim) → log-probabilities (B, T, vocabulary), blank 0, which is no label.

    Labels are the words of a ``word`` tokenizer. They come from the data directory's ``labels``, so a recording needs no text.
    """

    Config = FramesConfig
    task = FRAMES
    metric = "frame_error"
    allows_empty_text = True
    names_labels = True

    def __init__(self, config: FramesConfig, dim: int, vocabulary: int):
        super().__init__(config, dim, vocabulary)
        self.rules = Rules(config.onset, config.offset, config.min_on, config.min_off)

    def losses(self, x: Tensor, lengths: Tensor, tokens: Tensor, token_lengths: Tensor) -> Tensor:
        """(B,): the sum of each row's cross-entropies over its frames x (B, T, dim), lengths (B,), with labels (B, S)."""
        log_probs = self(mask(x, lengths))
        labels = _of_frames(tokens, x.shape[1])
        frames = F.nll_loss(log_probs.transpose(1, 2), labels, reduction="none")
        return torch.where(valid(lengths, x.shape[1]), frames, 0).sum(1)

    def errors(
        self, x: Tensor, lengths: Tensor, targets: Targets, texts: Sequence[str], tokenizer: Tokenizer
    ) -> tuple[int, int]:
        """Frames whose likeliest label is not theirs, and all frames."""
        wrong = self.linear(x).argmax(-1) != _of_frames(targets.values, x.shape[1])
        return int((wrong & valid(lengths, x.shape[1])).sum()), int(lengths.sum())

    def error_rate(self, tokenizer: Tokenizer) -> str:
        """The metric's name for a reader."""
        return "frame error"

    def search(
        self,
        config: SearchConfig = GREEDY,
        automata: Sequence[Automaton] = (),
        columns: int = 0,
        words: Words | None = None,
        fusion: Fusion | None = None,
    ) -> FramesSearch:
        """Raises ConfigError for any but the greedy search."""
        if config.kind != "greedy":
            raise ConfigError(
                f"search: a frames head labels frames, search {config.kind} needs tokens; leave it greedy"
            )
        return FramesSearch(self, self.rules)


def _of_frames(labels: Tensor, time: int) -> Tensor:
    """Labels (B, S) as (B, time): some features and encoders give a frame more or less than one for each stride begun."""
    return F.pad(labels, (0, max(0, time - labels.shape[1])))[:, :time]
