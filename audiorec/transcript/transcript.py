"""``Transcript``: the tokens of one stream become segments of words with times. It keeps the open segment alone."""

from collections.abc import Iterable
from math import exp, inf

from audiorec.audio.levels import Levels
from audiorec.text import Tokenizer
from audiorec.text.tokenizer import MARK
from audiorec.transcript.endpoint import Part
from audiorec.transcript.hypothesis import SPELLED, Hypothesis
from audiorec.transcript.reading import ended, read
from audiorec.transcript.result import Alternative, Piece, Segment
from audiorec.transcript.times import Delay, WordTimes


class Transcript:
    """``hear`` the parts of segments as they are committed, look at the ``open`` segment, ``close`` it.

    ``frame_seconds`` is the length of the model's frames, ``levels`` those of the stream's audio. Times are seconds of that
    audio plus ``offset``, which is where the stream begins, and less after silence that was put in (``skip``).
    """

    def __init__(
        self, tokenizer: Tokenizer, frame_seconds: float, levels: Levels, delay: Delay | None, offset: float = 0.0
    ):
        self.tokenizer = tokenizer
        self.offset = offset
        self._frame_seconds = frame_seconds
        self._levels = levels
        self._word_times = WordTimes(levels, delay)
        self._open = Hypothesis()
        self._after = 0.0  # where the last word of the segments before ended
        self._in_word = False  # whether a token that begins no word would go on with the last one of the segment before

    def hear(self, parts: Iterable[Part], limit: float = inf) -> list[Segment]:
        """Parts of segments, in order: the segments that ended, at ``limit`` seconds at the latest, and have words."""
        segments = []
        for part in parts:
            self._open.extend(part.tokens)
            if part.end is not None:
                until = min(part.end * self._frame_seconds, limit)
                segments += self.close(until=until)
                self._word_times.forget(until)
        return segments

    def open(self, rest: Hypothesis | None = None) -> Segment:
        """The segment under way as it stands, with the tokens ``rest`` that are not committed."""
        return self._segment(self._open if rest is None else self._open + rest)

    def close(self, rest: Hypothesis | None = None, until: float | None = None) -> list[Segment]:
        """End the segment at ``until`` seconds of the audio, else where the audio ends: the segment, if it has words.

        Audio after ``until`` changes nothing, however much of it there is already. Half a word of a lexicon is left out; where
        neither ``rest`` nor ``until`` is given the stream goes on, and with it the word, in the next segment.
        """
        said = self._open if rest is None else self._open + rest
        goes_on = rest is None and until is None
        segment = self._segment(said, self._levels.seconds if until is None else until)
        if segment.tokens:
            spelled = not said.words or said.words[len(segment.tokens) - 1] == SPELLED
            self._in_word = spelled and not segment.tokens[-1].text.endswith(MARK)
        if segment.words:
            self._after = segment.words[-1].end - self.offset
        self._open = said[ended(said) :] if goes_on else Hypothesis()
        self._word_times.clear()
        return [segment] if segment.text else []

    def skip(self, start: float, end: float) -> None:
        """From ``start`` to ``end`` seconds of the audio silence was put in: what follows lies earlier in the caller's audio."""
        self.offset -= end - start
        self._after = end

    def alternatives(self, before: str, ends: Iterable[Hypothesis]) -> list[Alternative]:
        """The different texts ``before`` the open segment and in it, if it may end in these ways: best first, with scores."""
        scores: dict[str, float] = {}
        for end in ends:
            text = " ".join(word.text for word in read(self.tokenizer, self._open + end))
            space = " " if before and text and not self._continues(self._open + end) else ""
            scores.setdefault(before + space + text, end.score)
        return [Alternative(text, score) for text, score in scores.items()]

    def _continues(self, said: Hypothesis) -> bool:
        return bool(self._in_word and said.ids and not self.tokenizer.begins_word[said.ids[0]])

    def _segment(self, said: Hypothesis, until: float | None = None) -> Segment:
        said = said[: ended(said)]
        if not said.ids:
            return Segment()
        times = [(frame * self._frame_seconds, (frame + 1) * self._frame_seconds) for frame in said.frames]
        spelled = read(self.tokenizer, said)
        emissions = [(times[word.start][0], times[word.end - 1][1]) for word in spelled]
        extents = self._word_times(emissions, self._after, until)
        offset, pieces = self.offset, self.tokenizer.pieces
        return Segment(
            " ".join(word.text for word in spelled),
            [
                Piece(word.text, start + offset, end + offset, exp(sum(said.log_probs[word.start : word.end])))
                for word, (start, end) in zip(spelled, extents, strict=True)
            ],
            [
                Piece(pieces[i], start + offset, end + offset, exp(log_prob))
                for i, (start, end), log_prob in zip(said.ids, times, said.log_probs, strict=True)
            ],
            self._continues(said),
        )
