"""Streaming encoders: feature frames in, encoder frames out. ``build`` makes any of them from its config."""

from audiorec.config import Config
from audiorec.encoders import (  # noqa: F401 (register kinds)
    blstm,
    conformer,
    fastconformer,
    flash_rnn,
    icefall_lstm,
    lmu,
    mamba,
    min_rnn,
    rnn,
    transformer,
)
from audiorec.encoders.registry import ENCODERS, ManyLatencies
from audiorec.streaming import StreamingModule

__all__ = ["ENCODERS", "ManyLatencies", "build"]


def build(config: Config | dict, input_dim: int) -> StreamingModule:
    """The encoder of a typed config, or of a plain dict with ``kind``. Raises ConfigError naming the key at fault."""
    return ENCODERS.build(config, input_dim)
