"""What recognition gives: text, and the tokens and words with their times."""

from dataclasses import dataclass, field

from audiorec.text import Tokenizer, words


@dataclass(frozen=True, slots=True)
class Piece:
    """A token or a word, with the seconds from the start of the audio where it was recognised."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Segment:
    """A stretch of speech: what was said between two pauses, or the whole of a recording."""

    text: str = ""
    words: list[Piece] = field(default_factory=list)
    tokens: list[Piece] = field(default_factory=list)


@dataclass(frozen=True)
class Result:
    """``segments`` in order; ``text``, ``words`` and ``tokens`` are theirs joined.

    ``margin`` is the smallest gap between the two best scores on the way: below 1e-4 another machine may differ.
    """

    segments: list[Segment]
    margin: float = float("inf")

    @property
    def text(self) -> str:
        return " ".join(segment.text for segment in self.segments if segment.text)

    @property
    def words(self) -> list[Piece]:
        return [word for segment in self.segments for word in segment.words]

    @property
    def tokens(self) -> list[Piece]:
        return [token for segment in self.segments for token in segment.tokens]


def make_segment(
    tokenizer: Tokenizer, ids: list[int], frames: list[int], frame_seconds: float, ends: list[int] | None = None
) -> Segment:
    """The segment of these tokens: a token lasts from its frame until frame ``ends``, or that one frame where they are not
    known, a word from its first to its last token."""
    ends = [frame + 1 for frame in frames] if ends is None else ends
    times = [(start * frame_seconds, end * frame_seconds) for start, end in zip(frames, ends, strict=True)]
    tokens = [Piece(tokenizer.pieces[i], *span) for i, span in zip(ids, times, strict=True)]
    found = [Piece(word.text, times[word.start][0], times[word.end - 1][1]) for word in words(tokenizer, ids)]
    return Segment(" ".join(word.text for word in found), found, tokens)
