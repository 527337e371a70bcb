"""Heads own a task each: ``Head``, what each offers, and the CTC head."""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import jiwer
import torch
from pydantic import Field
from torch import Tensor, nn

from audiorec.config import Config, Registry
from audiorec.data.targets import TEXT, Targets, Task
from audiorec.errors import ConfigError, UserError
from audiorec.losses import ctc_loss
from audiorec.search import (
    GREEDY,
    Alignment,
    Automaton,
    CtcBeamSearch,
    CtcGreedySearch,
    Fusion,
    SearchConfig,
    Words,
    align_ctc,
    decode,
)
from audiorec.search.priors import UNMEASURED
from audiorec.streaming import Linear
from audiorec.text import Tokenizer

HEADS = Registry("heads")


class HeadConfig(Config):
    """What the configs of all heads share."""

    kind: str
    weight: float = Field(1.0, gt=0, description="of its loss in the sum over heads")
    at: str | None = Field(
        None, description="the encoder's layer that it reads, such as layer3; null: the encoder's end"
    )


class Head(nn.Module):
    """A head owns its projection, and its task: the targets of an utterance, the loss over them, how often it errs, the search
    that says its result. Built by (config, dim of the encoder frames, vocabulary).

    Its config may be a ``HeadConfig``; one without ``at`` reads the encoder's end.
    """

    Config: ClassVar[type[Config]]
    task: ClassVar[Task] = TEXT  # says its targets
    metric: ClassVar[str] = "wer"  # what ``errors`` measures: trainer.monitor's valid_wer
    allows_empty_text: ClassVar[bool] = False  # whether it learns from a recording without a word
    names_labels: ClassVar[bool] = False  # whether it takes words for labels, so that none may be cut into pieces
    takes_path: bool = False  # whether ``losses`` takes an ``Alignment``, too, along which to learn
    weight: float  # of its loss in the sum over heads

    def losses(self, x: Tensor, lengths: Tensor, tokens: Tensor, token_lengths: Tensor) -> Tensor:
        """(B,): the loss of each row of encoder frames x (B, T, dim) with its task's targets, which are tokens (B, S) unless it
        says otherwise; +inf where the row has no path."""
        raise NotImplementedError

    def errors(
        self, x: Tensor, lengths: Tensor, targets: Targets, texts: Sequence[str], tokenizer: Tokenizer
    ) -> tuple[int, int]:
        """Errors, and of how many, in encoder frames x (B, T, dim), lengths (B,): of its greedy search, in words."""
        said = [tokenizer.decode((found + ending.best).ids) for found, ending in decode(self.search(), x, lengths)]
        found = jiwer.process_words([tokenizer.expected(text) for text in texts], said)
        missed = found.substitutions + found.deletions
        return missed + found.insertions, missed + found.hits

    def error_rate(self, tokenizer: Tokenizer) -> str:
        """The metric's name for a reader."""
        return tokenizer.error_rate

    def search(
        self,
        config: SearchConfig = GREEDY,
        automata: Sequence[Automaton] = (),
        columns: int = 0,
        words: Words | None = None,
        fusion: Fusion | None = None,
    ) -> Any:
        """Its search: ``initial_state``, ``step``, ``partial``, ``flush``. Raises ConfigError where it offers no such one."""
        raise NotImplementedError

    def score_frames(self, x: Tensor) -> Tensor:
        """Scores of encoder frames (B, T, dim), by the operations of a greedy stream: `audiorec info` counts them."""
        raise NotImplementedError

    def align(self, x: Tensor, lengths: Tensor, tokens: Tensor, token_lengths: Tensor) -> Alignment:
        """The frames of each token; arguments as for ``losses``. Raises UserError where the head knows no times."""
        raise UserError(f"heads.{self.Config.model_fields['kind'].default}: has no times of tokens, so it cannot align")


class LinearHead(Head):
    """A head of one linear layer: frames (…, dim) → log-probabilities (…, vocabulary)."""

    def __init__(self, config: HeadConfig, dim: int, vocabulary: int):
        super().__init__()
        self.weight = config.weight
        self.linear = Linear(dim, vocabulary)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.linear(x)
        return logits.log_softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))

    def score_frames(self, x: Tensor) -> Tensor:
        """Scores of encoder frames (B, T, dim), by the operations of a greedy stream: `audiorec info` counts them."""
        return self(x)


class CtcConfig(HeadConfig):
    kind: Literal["ctc"] = "ctc"


@HEADS.register
class CtcHead(LinearHead):
    """Log-probabilities of each frame: (B, T, dim) → (B, T, vocabulary), blank 0.

    ``priors`` (vocabulary,) are the logs of how often it finds each symbol, where that was measured; else None.
    """

    Config = CtcConfig
    priors: Tensor | None

    def __init__(self, config: CtcConfig, dim: int, vocabulary: int):
        super().__init__(config, dim, vocabulary)
        self.register_buffer("priors", None, persistent=False)

    def losses(self, x: Tensor, lengths: Tensor, tokens: Tensor, token_lengths: Tensor) -> Tensor:
        return ctc_loss(self(x), lengths, tokens, token_lengths)

    def search(
        self,
        config: SearchConfig = GREEDY,
        automata: Sequence[Automaton] = (),
        columns: int = 0,
        words: Words | None = None,
        fusion: Fusion | None = None,
    ) -> CtcGreedySearch | CtcBeamSearch:
        if config.kind == "greedy":
            return CtcGreedySearch(self)
        if config.ilm_weight:
            raise ConfigError(
                "search.ilm_weight: CTC has no internal language model; leave it out, or use a transducer"
            )
        options = automata, columns, self.linear.out_features, words, fusion, config.beam_threshold
        if config.prior_weight and self.priors is None:
            raise ConfigError(UNMEASURED)
        scores = partial(self.without_priors, config.prior_weight) if config.prior_weight else self
        return CtcBeamSearch(scores, config.beam, config.window, *options)

    def without_priors(self, weight: float, x: Tensor) -> Tensor:
        """As ``forward``, with so much of the log-priors taken off: probabilities still, as of symbols that are as frequent."""
        assert self.priors is not None
        return (self(x) - weight * self.priors).log_softmax(-1)

    def align(self, x: Tensor, lengths: Tensor, tokens: Tensor, token_lengths: Tensor) -> Alignment:
        return align_ctc(self(x), lengths, tokens, token_lengths)
