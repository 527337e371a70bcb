"""The transducer head: predictor, joiner, the loss they train with and the search that fits it."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from audiorec.config import Config
from audiorec.decoders import PREDICTORS, Joiner
from audiorec.models.heads import HEADS
from audiorec.models.transducer_losses import LOSSES
from audiorec.search import (
    GREEDY,
    Alignment,
    Automaton,
    SearchConfig,
    TransducerBeamSearch,
    TransducerGreedySearch,
    align_transducer,
)


class TransducerConfig(Config):
    kind: Literal["transducer"] = "transducer"
    weight: float = Field(1.0, gt=0, description="of its loss in the sum over heads")
    predictor: PREDICTORS.field = Field("stateless", description="stateless or lstm")
    joiner_dim: PositiveInt = Field(256, description="width of the joiner")
    loss: LOSSES.field = Field("pruned", description="full, pruned or tdt")


@HEADS.register
class TransducerHead(nn.Module):
    """Encoder frames (B, T, dim) beside histories of tokens; blank 0.

    How far the loss's warm-up has come is a buffer of the loss, so that a checkpoint holds it.
    """

    Config = TransducerConfig

    def __init__(self, config: TransducerConfig, dim: int, vocabulary: int):
        super().__init__()
        self.weight = config.weight
        self.predictor = PREDICTORS.build(config.predictor, vocabulary)
        size = self.predictor.output_dim
        self.loss = LOSSES.build(config.loss, dim, size, vocabulary)
        self.joiner = Joiner(dim, size, config.joiner_dim, vocabulary + len(self.loss.durations))

    def score_frames(self, x: Tensor) -> Tensor:
        """Scores of encoder frames (B, T, dim) beside one symbol, by the operations of a greedy stream that emits it.

        `audiorec info` counts them. A frame without a symbol costs less: its history is the one before.
        """
        history = self.predictor.output(self.predictor.initial_state(len(x)))  # its symbol: the blank that begins it
        return self.joiner(self.joiner.encoder_proj(x), self.joiner.predictor_proj(history)[:, None])

    def losses(self, x: Tensor, lengths: Tensor, tokens: Tensor, token_lengths: Tensor) -> Tensor:
        """(B,): encoder frames x (B, T, dim), tokens (B, S) with their lengths."""
        return self.loss(x, self.predictor(tokens), self.joiner, tokens, lengths, token_lengths)

    def search(
        self, config: SearchConfig = GREEDY, automata: Sequence[Automaton] = ()
    ) -> TransducerGreedySearch | TransducerBeamSearch:
        """Raises ConfigError where the loss's type of transducer has no such search."""
        return self.loss.search(self.predictor, self.joiner, config, automata)

    def align(self, x: Tensor, lengths: Tensor, tokens: Tensor, token_lengths: Tensor) -> Alignment:
        """Where the tokens lie; arguments as for ``losses``."""
        topology = self.loss.rnnt_type, self.loss.durations
        return align_transducer(self.predictor, self.joiner, x, lengths, tokens, token_lengths, *topology)
