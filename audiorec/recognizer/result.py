"""The result of recognition: text, and the tokens and words with their times."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from math import exp, isfinite
from typing import Any

from audiorec.search import Hypothesis, WordTimes
from audiorec.text import Tokenizer, words


@dataclass(frozen=True, slots=True)
class Piece:
    """A token or a word, with its begin and end in seconds from the start of the audio.

    A token lasts the frame that emitted it: when the model was sure of it, which is later than when it was said. A word lasts
    from its begin to its end, as ``audiorec.search.times`` finds them; where the delay of the model is not known (it has no
    ``times.yaml``), from its first token to its last.

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


def make_segment(tokenizer: Tokenizer, said: Hypothesis, frame_seconds: float, word_times: WordTimes) -> Segment:
    """The segment of tokens that frames of ``frame_seconds`` emitted; ``word_times`` has the audio."""
    times = [(frame * frame_seconds, (frame + 1) * frame_seconds) for frame in said.frames]
    tokens = [
        Piece(tokenizer.pieces[i], *span, exp(log_prob))
        for i, span, log_prob in zip(said.ids, times, said.log_probs, strict=True)
    ]
    spelled = words(tokenizer, said.ids)
    extents = word_times([(times[word.start][0], times[word.end - 1][1]) for word in spelled])
    pieces = [
        Piece(word.text, *extent, exp(sum(said.log_probs[word.start : word.end])))
        for word, extent in zip(spelled, extents, strict=True)
    ]
    return Segment(" ".join(word.text for word in spelled), pieces, tokens)


def alternatives(tokenizer: Tokenizer, hypotheses: Iterable[Hypothesis]) -> list[Alternative]:
    """The different texts of hypotheses, best first, each with its best score."""
    scores: dict[str, float] = {}
    for one in hypotheses:
        scores.setdefault(tokenizer.decode(one.ids), one.score)
    return [Alternative(text, score) for text, score in scores.items()]
