"""The losses that a transducer head can train with: their configuration, and the paths they train."""

from typing import Any, Literal

from pydantic import Field, NonNegativeInt, field_validator

from audiorec.config import Config, Registry
from audiorec.losses import FullTransducerLoss, PrunedTransducerLoss, TdtLoss, Topology, ViterbiLoss

LOSSES = Registry("loss")

RnntType = Literal["regular", "modified", "constrained"]
TYPE = Field("regular", description="modified and constrained: at most one symbol a frame")
DELAY = Field(
    0.0, ge=0, description="added to a symbol's score for each frame that it comes earlier; pruned: after the warm-up"
)
RECOMPUTE = Field(False, description="keep less for the backward pass: a third more time in the joiner")


class FullConfig(Config):
    kind: Literal["full"] = "full"
    rnnt_type: RnntType = TYPE
    delay_penalty: float = DELAY
    fastemit: float = Field(0.0, ge=0, description="the gradient of symbols is 1 + fastemit times as large")
    recompute: bool = RECOMPUTE

    @property
    def topology(self) -> Topology:
        return Topology(self.rnnt_type)


@LOSSES.register
class Full(FullTransducerLoss):
    Config = FullConfig

    def __init__(self, config: FullConfig, encoder_dim: int, predictor_dim: int, vocabulary: int):
        super().__init__(**_options(config))


class PrunedConfig(Config):
    kind: Literal["pruned"] = "pruned"
    rnnt_type: RnntType = TYPE
    prune_range: int = Field(5, ge=2, description="positions of the joiner at each frame")
    delay_penalty: float = DELAY
    lm_only_scale: float = Field(0.25, ge=0, le=1, description="share of the predictor alone in the simple loss")
    am_only_scale: float = Field(0.0, ge=0, le=1, description="share of the encoder alone in the simple loss")
    simple_scale: float = Field(0.5, ge=0, description="weight of the simple loss after the warm-up")
    warmup: NonNegativeInt = Field(
        2000, description="batches over which the pruned loss takes over from the simple one"
    )
    recompute: bool = RECOMPUTE

    @property
    def topology(self) -> Topology:
        return Topology(self.rnnt_type)


@LOSSES.register
class Pruned(PrunedTransducerLoss):
    Config = PrunedConfig

    def __init__(self, config: PrunedConfig, encoder_dim: int, predictor_dim: int, vocabulary: int):
        super().__init__(encoder_dim, predictor_dim, vocabulary, **_options(config))


class TdtConfig(Config):
    kind: Literal["tdt"] = "tdt"
    durations: tuple[NonNegativeInt, ...] = Field((0, 1, 2, 3, 4), min_length=1, description="in frames")
    sigma: float = Field(0.05, ge=0, description="subtracted from every symbol's log-probability: favours long steps")
    omega: float = Field(0.1, ge=0, lt=1, description="share of the plain transducer loss")
    recompute: bool = RECOMPUTE

    @field_validator("durations")
    @classmethod
    def _move_on(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) < len(value) or max(value) < 1:
            raise ValueError("takes different numbers of frames, one of them at least 1")
        return value

    @property
    def topology(self) -> Topology:
        return Topology(durations=self.durations)


@LOSSES.register
class Tdt(TdtLoss):
    Config = TdtConfig

    def __init__(self, config: TdtConfig, encoder_dim: int, predictor_dim: int, vocabulary: int):
        super().__init__(**_options(config))


class ViterbiConfig(Config):
    kind: Literal["viterbi"] = "viterbi"
    rnnt_type: RnntType = TYPE

    @property
    def topology(self) -> Topology:
        return Topology(self.rnnt_type)


@LOSSES.register
class Viterbi(ViterbiLoss):
    Config = ViterbiConfig

    def __init__(self, config: ViterbiConfig, encoder_dim: int, predictor_dim: int, vocabulary: int):
        super().__init__(**_options(config))


def _options(config: Config) -> dict[str, Any]:
    return config.model_dump(exclude={"kind"})
