"""The transducer head: predictor, joiner, the loss that they train with, and the search over the same paths."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, PositiveInt
from torch import Tensor

from audiorec.decoders import PREDICTORS, Activation, Joiner
from audiorec.errors import ConfigError
from audiorec.models.heads import HEADS, Head, HeadConfig
from audiorec.models.transducer_losses import LOSSES, Viterbi
from audiorec.search import (
    GREEDY,
    Alignment,
    Automaton,
    Fusion,
    SearchConfig,
    TdtGreedySearch,
    TransducerBeamSearch,
    TransducerGreedySearch,
    Words,
    align_transducer,
)
from audiorec.search.priors import NO_PRIORS
from audiorec.search.transducer import MAX_SYMBOLS


class TransducerConfig(HeadConfig):
    kind: Literal["transducer"] = "transducer"
    predictor: PREDICTORS.field = Field("stateless", description="stateless or lstm")
    joiner_dim: PositiveInt = Field(256, description="width of the joiner")
    joiner_activation: Activation = Field("tanh", description="of the sum of encoder and predictor; NeMo's is relu")
    loss: LOSSES.field = Field("pruned", description="full, pruned, tdt or viterbi")


@HEADS.register
class TransducerHead(Head):
    """Encoder frames (B, T, dim) beside histories of tokens; blank 0.

    ``topology`` says which paths the loss trains, the search follows and the alignment chooses from. The number of batches
    in the loss's warm-up is a buffer of the loss, so that a checkpoint holds it.
    """

    Config = TransducerConfig

    def __init__(self, config: TransducerConfig, dim: int, vocabulary: int):
        super().__init__()
        self.weight = config.weight
        self.topology = config.loss.topology
        self.predictor = PREDICTORS.build(config.predictor, vocabulary)
        size = self.predictor.output_dim
        self.loss = LOSSES.build(config.loss, dim, size, vocabulary)
        outputs = vocabulary + len(self.topology.durations)
        self.joiner = Joiner(dim, size, config.joiner_dim, outputs, config.joiner_activation)
        self.takes_path = isinstance(self.loss, Viterbi)

    def score_frames(self, x: Tensor) -> Tensor:
        """Scores of encoder frames (B, T, dim) beside one symbol, by the operations of a greedy stream that emits it.

        `audiorec info` counts them. A frame without a symbol costs less: its history is the one before.
        """
        history = self.predictor.output(self.predictor.initial_state(len(x)))  # its symbol: the blank that begins it
        return self.joiner(self.joiner.encoder_proj(x), self.joiner.predictor_proj(history)[:, None])

    def losses(
        self, x: Tensor, lengths: Tensor, tokens: Tensor, token_lengths: Tensor, path: Alignment | None = None
    ) -> Tensor:
        """``path`` is what a loss along one path follows: its own best one unless given."""
        batch = x, self.predictor(tokens), self.joiner, tokens, lengths, token_lengths
        if not self.takes_path:
            return self.loss(*batch)
        path = path or self.align(x, lengths, tokens, token_lengths)
        losses = self.loss(*batch, path.starts)
        # A score of −inf or NaN has no frames: the one says that there is no path, the other stays a fault.
        return losses.where(path.scores.isfinite(), -path.scores.to(losses.dtype))

    def search(
        self,
        config: SearchConfig = GREEDY,
        automata: Sequence[Automaton] = (),
        columns: int = 0,
        words: Words | None = None,
        fusion: Fusion | None = None,
    ) -> TransducerGreedySearch | TransducerBeamSearch:
        """Raises ConfigError for any but the greedy search of a TDT transducer."""
        if durations := self.topology.durations:
            if config.kind == "beam" or config.skip_blank:
                raise ConfigError("search: a TDT transducer decodes greedily and skips frames by its own durations")
            return TdtGreedySearch(self.predictor, self.joiner, durations, config.max_symbols or MAX_SYMBOLS)
        if config.kind == "greedy":
            max_symbols = 1 if self.topology.one_symbol_a_frame else config.max_symbols or MAX_SYMBOLS
            return TransducerGreedySearch(self.predictor, self.joiner, max_symbols)
        if config.prior_weight:
            raise ConfigError(NO_PRIORS)
        beam = (
            config.beam,
            config.window,
            automata,
            columns,
            words,
            config.ilm_weight or 0.0,
            fusion,
            config.beam_threshold,
        )
        return TransducerBeamSearch(self.predictor, self.joiner, *beam)

    def align(self, x: Tensor, lengths: Tensor, tokens: Tensor, token_lengths: Tensor) -> Alignment:
        paths = self.topology.rnnt_type, self.topology.durations
        return align_transducer(self.predictor, self.joiner, x, lengths, tokens, token_lengths, *paths)
