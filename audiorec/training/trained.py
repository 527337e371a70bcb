"""A trained model that a training asks about its own batches: a teacher, an aligner."""

from pathlib import Path

from audiorec.errors import UserError
from audiorec.models import AsrModel, load_model
from audiorec.text import Tokenizer


def load_trained(key: str, source: Path, model: AsrModel, tokenizer: Tokenizer) -> AsrModel:
    """The model or run directory ``source``, which the setting ``key`` names, beside the ``model`` in training.

    Raises UserError where its pieces, its sample rate or the length of its frames are others.
    """
    trained, pieces, _ = load_model(source)
    if pieces.pieces != tokenizer.pieces:
        raise UserError(
            f"{key}: {source} has {pieces.size} pieces, and this training's tokenizer {tokenizer.size} that are not the same; "
            f"train with --tokenizer {source}"
        )
    if trained.sample_rate != model.sample_rate:
        raise UserError(
            f"{key}: {source} hears {trained.sample_rate} Hz, and features.sample_rate is {model.sample_rate}; both must be "
            "the same"
        )
    if trained.stride != model.stride:
        raise UserError(
            f"{key}: {source} has a frame every {1000 * trained.frame_seconds:g} ms, and this model every "
            f"{1000 * model.frame_seconds:g} ms; choose encoder.strides that make them the same"
        )
    return trained
