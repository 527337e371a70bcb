"""Models: features, encoder and heads as one streaming module, their configuration, and their directory on disk."""

from audiorec.models import transducer  # noqa: F401 (registers its head)
from audiorec.models.asr import AsrModel, parameter_count
from audiorec.models.config import ModelConfig, TokenizerConfig
from audiorec.models.describe import describe, latency
from audiorec.models.directory import find_model, load_model, save_model

__all__ = [
    "AsrModel",
    "ModelConfig",
    "TokenizerConfig",
    "describe",
    "find_model",
    "latency",
    "load_model",
    "parameter_count",
    "save_model",
]
