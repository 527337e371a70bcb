"""What a model is, in words: the table of ``audiorec info``."""

from audiorec.models.asr import AsrModel, parameter_count
from audiorec.models.config import ModelConfig
from audiorec.streaming import state_bytes
from audiorec.text import Tokenizer


def describe(model: AsrModel, tokenizer: Tokenizer, config: ModelConfig) -> dict[str, str]:
    """Name → value of everything worth knowing before using a model."""
    features = config.features
    options = ", ".join(f"{k} {v}" for k, v in config.encoder.model_dump().items() if k != "kind")
    return {
        "encoder": f"{config.encoder.kind} ({options})",
        "heads": ", ".join(config.heads),
        "tokens": f"{tokenizer.kind}, {tokenizer.size} with blank",
        "features": f"log-mel, {features.bins} bins at {features.sample_rate} Hz",
        "parameters": f"{parameter_count(model):,} ({parameter_count(model.encoder):,} in the encoder)",
        "output frame": f"{1000 * model.frame_seconds:g} ms",
        "latency": f"{latency(model)} from the start of a frame, features and subsampling included",
        "state": f"{state_bytes(model.initial_state(1)):,} bytes a stream"
        if model.streams
        else "none: it cannot stream",
    }


def latency(model: AsrModel) -> str:
    return f"{model.latency_ms:g} ms" if model.streams else "the whole utterance"
