"""The result of recognition: text, and the tokens and words with their times."""

from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any


@dataclass(frozen=True, slots=True)
class Piece:
    """A token or a word, with its begin and end in seconds from the start of the audio.

    A token lasts the frame that emitted it: when the model was sure of it, which is later than when it was said. A word lasts
    from its begin to its end, as ``audiorec.transcript.times`` finds them; where the delay of the model is not known (it has
    no ``times.yaml``), from its first token to its last.

    ``confidence`` of a token: the probability that the model gave it at its frame among all symbols but the blank; of a word:
    the product of its tokens'. Language model and hotwords do not enter. Rounding may differ, so it is not compared.
    """

    text: str
    start: float
    end: float
    confidence: float = field(default=1.0, compare=False)


@dataclass(frozen=True)
class Segment:
    """A stretch of speech between two pauses, or the whole of a recording.

    ``continues``: its first word is the rest of the last word of the segment before, which ended within it.
    """

    text: str = ""
    words: list[Piece] = field(default_factory=list)
    tokens: list[Piece] = field(default_factory=list)
    continues: bool = False


@dataclass(frozen=True, slots=True)
class Alternative:
    """A text, and its score relative to the best one's: a natural logarithm, 0 or less."""

    text: str
    score: float = field(compare=False)


@dataclass(frozen=True, repr=False)
class Result:
    """``segments`` in order; ``text``, ``words`` and ``tokens`` are theirs joined.

    ``margin`` is the smallest gap between the two best scores of any frame (of a beam: where hypotheses were dropped at the end
    of a segment): below 1e-4 another machine may decide otherwise. ``nbest`` holds the different texts among the hypotheses of
    the search, best first. Both are known once the audio has ended. ``seconds`` is the length of the audio.
    """

    segments: list[Segment]
    margin: float = float("inf")
    nbest: list[Alternative] = field(default_factory=list)
    seconds: float = field(default=0.0, compare=False)

    @property
    def text(self) -> str:
        return join(self.segments)

    @property
    def words(self) -> list[Piece]:
        words: list[Piece] = []
        for segment in self.segments:
            own = segment.words
            if segment.continues and words and own:
                a, b, own = words.pop(), own[0], own[1:]
                words.append(Piece(a.text + b.text, a.start, b.end, a.confidence * b.confidence))
            words += own
        return words

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


def join(segments: list[Segment]) -> str:
    """The text of segments in order; a segment that continues a word follows without a space."""
    parts: list[str] = []
    for segment in segments:
        if segment.text:
            parts += ["" if segment.continues or not parts else " ", segment.text]
    return "".join(parts)
