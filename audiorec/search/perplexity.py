"""How well an n-gram predicts a text: perplexity and unknown words, as KenLM's ``query`` counts them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiorec.errors import UserError
from audiorec.search.arpa import is_kenlm, read_ngram
from audiorec.search.kneser_ney import Vocabulary
from audiorec.search.ngram import BEGIN_ID, END_ID, UNKNOWN_ID

# Of each word and each end of a sentence log10 of its probability, and whether it is unknown; and the number of sentences.
Scored = tuple[NDArray[np.float64], NDArray[np.bool_], int]
Score = Callable[[str, Sequence[Sequence[str]]], Scored]


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


def perplexity(path: Path | str, texts: Mapping[str, Sequence[Sequence[str]]]) -> dict[str, Perplexity]:
    """Of an ARPA file, or a binary of KenLM, on texts by their names, each of sentences of words.

    Raises UserError for a bad file, no words, and words all of which are unknown.
    """
    score, found = _kenlm(path) if is_kenlm(path) else _arpa(path), {}
    for name, lines in texts.items():
        scores, unknown, sentences = score(name, lines)
        if unknown.sum() + sentences == len(scores):
            raise UserError(f"{path}: has none of the words of {name}: of another language or another case")
        both = [float(10 ** -part.mean()) for part in (scores, scores[~unknown])]
        found[name] = Perplexity(sentences, len(scores), int(unknown.sum()), *both)
    return found


def _arpa(path: Path | str) -> Score:
    model = read_ngram(path)
    words = Vocabulary(model.words)

    def score(name: str, lines: Sequence[Sequence[str]]) -> Scored:
        text = words.encode(name, lines)
        said = text != BEGIN_ID
        return model.log_probs(text)[said], text[said] == UNKNOWN_ID, int((text == END_ID).sum())

    return score


def _kenlm(path: Path | str) -> Score:
    import kenlm

    try:
        model = kenlm.Model(str(path))
    except (OSError, RuntimeError) as error:
        raise UserError(f"{path}: KenLM cannot read it ({' '.join(str(error).split())})") from None

    def score(name: str, lines: Sequence[Sequence[str]]) -> Scored:
        full = [list(model.full_scores(" ".join(line))) for line in lines if line]
        if not full:
            raise UserError(f"{name}: there is no text to score")
        words = [word for line in full for word in line]
        return np.array([word[0] for word in words]), np.array([word[2] for word in words]), len(full)

    return score
