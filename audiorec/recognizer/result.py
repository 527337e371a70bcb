"""The result of recognition: text, and the tokens and words with their times."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from math import exp, isfinite
from typing import Any

from audiorec.search import Hypothesis
from audiorec.text import Tokenizer, words


@dataclass(frozen=True, slots=True)
class Piece:
    """A token or a word, with the seconds from the start of the audio where it was recognised.

    ``confidence`` of a token: the probability that the model gave it at its frame among all symbols but the blank; of a word:
    the product of its tokens'. Language model and hotwords do not enter. Rounding may differ, so it is not compared.
    """

    text: str
    start: float
    end: float
    confidence: float = field(default=1.0, compare=False)


@dataclass(frozen=True)
class Segment:
    """A stretch of speech between two pauses, or the whole of a recording."""

    text: str = ""
    words: list[Piece] = field(default_factory=list)
    tokens: list[Piece] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Alternative:
    """A text, and its score relative to the best one's: a natural logarithm, 0 or less."""

    text: str
    score: float = field(compare=False)


@dataclass(frozen=True, repr=False)
class Result:
    """``segments`` in order; ``text``, ``words`` and ``tokens`` are theirs joined.

    ``margin`` is the smallest gap between the two best scores of any frame (of a beam: the gap at the end): below 1e-4
    another machine may decide otherwise. ``nbest`` holds, once the audio has ended, the different texts among the hypotheses
    of the search, best first.
    """

    segments: list[Segment]
    margin: float = float("inf")
    nbest: list[Alternative] = field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join(segment.text for segment in self.segments if segment.text)

    @property
    def words(self) -> list[Piece]:
        return [word for segment in self.segments for word in segment.words]

    @property
    def tokens(self) -> list[Piece]:
        return [token for segment in self.segments for token in segment.tokens]

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and numbers, for JSON; a ``margin`` that is infinite becomes None."""
        margin = self.margin if isfinite(self.margin) else None
        return {"text": self.text, **asdict(self), "margin": margin}

    def __repr__(self) -> str:
        words = self.words
        text = self.text if len(self.text) <= 60 else self.text[:59] + "…"
        times = f", {words[0].start:.2f} to {words[-1].end:.2f} s" if words else ""
        return f"Result({text!r}, {len(words)} {'word' if len(words) == 1 else 'words'}{times})"


def make_segment(tokenizer: Tokenizer, said: Hypothesis, frame_seconds: float) -> Segment:
    """The segment of these tokens: a token lasts the frame it was emitted at, a word from its first to its last token."""
    times = [(frame * frame_seconds, (frame + 1) * frame_seconds) for frame in said.frames]
    tokens = [
        Piece(tokenizer.pieces[i], *span, exp(log_prob))
        for i, span, log_prob in zip(said.ids, times, said.log_probs, strict=True)
    ]
    found = [
        Piece(text, times[start][0], times[end - 1][1], exp(sum(said.log_probs[start:end])))
        for text, start, end in words(tokenizer, said.ids)
    ]
    return Segment(" ".join(word.text for word in found), found, tokens)


def alternatives(tokenizer: Tokenizer, hypotheses: Iterable[Hypothesis]) -> list[Alternative]:
    """The different texts of hypotheses, best first, each with its best score."""
    scores: dict[str, float] = {}
    for one in hypotheses:
        scores.setdefault(tokenizer.decode(one.ids), one.score)
    return [Alternative(text, score) for text, score in scores.items()]
