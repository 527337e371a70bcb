"""Models: features, encoder and heads as one streaming module, their configuration, and their directory on disk."""

from audiorec.models import classify, frames, transducer  # noqa: F401 (they register their heads)
from audiorec.models.asr import AsrModel, parameter_count
from audiorec.models.card import model_card
from audiorec.models.config import ModelConfig, TokenizerConfig, load_model_config
from audiorec.models.delays import read_delays, write_delays
from audiorec.models.describe import Table, describe, heads_text, latency, vocabulary
from audiorec.models.device import find_device
from audiorec.models.directory import find_model, is_language, load_model, save_model
from audiorec.models.language import LanguageModel, LanguageModelConfig, load_language_model
from audiorec.transcript.delays import delay_name

__all__ = [
    "AsrModel",
    "LanguageModel",
    "LanguageModelConfig",
    "ModelConfig",
    "Table",
    "TokenizerConfig",
    "delay_name",
    "describe",
    "find_device",
    "find_model",
    "heads_text",
    "is_language",
    "latency",
    "load_language_model",
    "load_model",
    "load_model_config",
    "model_card",
    "parameter_count",
    "read_delays",
    "save_model",
    "vocabulary",
    "write_delays",
]
