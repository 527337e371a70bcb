"""How well an n-gram predicts a text: perplexity and unknown words, as KenLM's ``query`` counts them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiorec.errors import UserError
from audiorec.search.arpa import is_kenlm, read_ngram
from audiorec.search.kneser_ney import Vocabulary
from audiorec.search.ngram import BEGIN_ID, END_ID, UNKNOWN_ID


@dataclass(frozen=True)
class Perplexity:
    """Of ``tokens``, the words and the ends of their sentences, ``unknown`` are words that the model lacks."""

    sentences: int
    tokens: int
    unknown: int
    with_unknown: float
    without_unknown: float

    @property
    def unknown_rate(self) -> float:
        """Of the words alone."""
        return self.unknown / (self.tokens - self.sentences)


def perplexity(path: Path | str, name: str, lines: Sequence[Sequence[str]]) -> Perplexity:
    """Of an ARPA file, or a binary of KenLM, on sentences of words; ``name`` says whose.

    Raises UserError for a bad file, no words, and words all of which are unknown.
    """
    scores, unknown, sentences = _kenlm(path, lines) if is_kenlm(path) else _arpa(path, name, lines)
    if unknown.sum() + sentences == len(scores):
        raise UserError(f"{path}: has none of the words of {name}: of another language or another case")
    return Perplexity(sentences, len(scores), int(unknown.sum()), _perplexity(scores), _perplexity(scores[~unknown]))


def _perplexity(scores: NDArray[np.float64]) -> float:
    return float(10 ** -scores.mean())


def _arpa(path: Path | str, name: str, lines: Sequence[Sequence[str]]) -> tuple[NDArray, NDArray, int]:
    model = read_ngram(path)
    text = Vocabulary(model.words).encode(name, lines)
    said = text != BEGIN_ID
    return model.log_probs(text)[said], text[said] == UNKNOWN_ID, int((text == END_ID).sum())


def _kenlm(path: Path | str, lines: Sequence[Sequence[str]]) -> tuple[NDArray, NDArray, int]:
    import kenlm

    try:
        model = kenlm.Model(str(path))
    except OSError as error:
        raise UserError(f"{path}: KenLM cannot read it ({' '.join(str(error).split())})") from None
    full = [list(model.full_scores(" ".join(line))) for line in lines if line]
    words = [word for line in full for word in line]
    return np.array([score for score, _, _ in words]), np.array([unknown for _, _, unknown in words]), len(full)
