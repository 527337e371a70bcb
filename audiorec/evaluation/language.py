"""How well a recurrent language model predicts a text, in figures that compare with an n-gram's."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from audiorec_kernels.precision import full_precision

from audiorec.data.buckets import bucket
from audiorec.errors import UserError
from audiorec.models import load_language_model
from audiorec.models.language import pad
from audiorec.progress import progress
from audiorec.text import UNKNOWN

BATCH = 8000  # pieces, padding included


class Predicted(NamedTuple):
    """Perplexities a word and a piece: of −log P over words, or pieces, and ends of ``sentences``. ``unknown`` pieces are letters
    that the model lacks."""

    sentences: int
    words: int
    pieces: int
    unknown: int
    per_word: float
    per_piece: float


@torch.inference_mode()
def predicted(path: Path | str, texts: dict[str, Sequence[str]]) -> dict[str, Predicted]:
    """Of the language model in a folder, on texts by their names. Raises UserError for a bad folder, and for no text."""
    model, tokenizer, config = load_language_model(path)
    found = {}
    for name, lines in texts.items():
        said = [line for text in lines if (line := config.tokenizer.normalize(text))]
        if not said:
            raise UserError(f"{name}: there is no text to score")
        ids = [tokenizer.encode(line) for line in said]
        words, pieces = sum(len(line.split()) for line in said), sum(map(len, ids))
        loss = 0.0
        with progress("reading", len(ids)) as advance:
            for batch in bucket([len(text) + 1 for text in ids], BATCH, 1, None):
                symbols, lengths = pad([ids[i] for i in batch])
                with full_precision(model.bias):
                    loss += model.losses(symbols, lengths).double().sum().item()
                advance(len(batch))
        perplexities = (math.exp(loss / (count + len(said))) for count in (words, pieces))
        unknown = sum(piece == UNKNOWN for text in ids for piece in text)
        found[name] = Predicted(len(said), words, pieces, unknown, *perplexities)
    return found
