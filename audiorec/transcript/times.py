"""Begin and end of words, from the frames that emitted their tokens, the model's delay and the level of the audio.

CTC and transducers emit a token once, at some frame after the word has begun. How long after was measured for the model: it
tells where the begin can lie, and the pause in that stretch, if there is one, where it does. The end is found likewise.
"""

from collections.abc import Sequence

from pydantic import Field, FiniteFloat, NonNegativeInt, field_validator

from audiorec.audio.levels import Levels
from audiorec.config import Config

PAUSE = b"\1" * 8  # silent frames of 10 ms that part words; the closure of a stop inside a word is shorter
SHORTEST = 0.01  # seconds: no word is shorter
TAIL = 0.5  # seconds: the longest silence that a recogniser listens to after the end

Span = tuple[float, float]  # begin and end in seconds


class Delay(Config):
    """How far begins and ends of words lie from the emission of their tokens: lowest, median and highest, in seconds.

    A word may be emitted after its end. So a recogniser hears ``tail`` seconds of silence after the last sample, in recordings
    as in streams: else who stops right after the last word may lose it.
    """

    begin: tuple[FiniteFloat, FiniteFloat, FiniteFloat] = Field(
        description="from the start of the frame of a word's first token to the word's begin"
    )
    end: tuple[FiniteFloat, FiniteFloat, FiniteFloat] = Field(
        description="from the end of the frame of a word's last token to the word's end"
    )
    tail: float = Field(
        0.0, ge=0, le=TAIL, description="seconds of silence after the last sound until no recording lacks its last word"
    )
    words: NonNegativeInt = Field(0, description="words that were measured")

    @field_validator("begin", "end")
    @classmethod
    def _ascends(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if list(value) != sorted(value):
            raise ValueError("needs lowest, median and highest in this order")
        return value


class WordTimes:
    """Begin and end of the words in audio whose ``levels`` grow as it comes; call it for the words of one segment.

    ``delay`` None is that of a model that was not measured: a word lasts from its first token to its last.
    """

    def __init__(self, levels: Levels, delay: Delay | None):
        self.levels = levels
        self.delay = delay
        self._settled: dict[Span, Span] = {}  # of words which later audio does not change

    def __call__(self, emissions: Sequence[Span], after: float = 0.0, until: float | None = None) -> list[Span]:
        """Begin and end of each word: in order, without overlap, from ``after`` on, where the segment before ended.

        ``emissions`` are the start of the frame of each word's first token and the end of its last token's. ``until`` is where
        the segment ended: audio past it counts as silence, however much of it there is already. None: it goes on.
        """
        times: list[Span] = []
        latest = self.levels.seconds if until is None else until
        shortest = min(SHORTEST, max(0.0, latest - after) / (len(emissions) + 1))
        for emission in emissions:
            begin, end = emission if self.delay is None else self._find(emission, self.delay, until)
            begin = max(begin, after)
            if times and times[-1][1] > begin:  # words that overlap meet half way
                before, begin = times[-1][0], max((times[-1][1] + begin) / 2, times[-1][0] + shortest)
                times[-1] = before, begin
            times.append((begin, max(end, begin + shortest)))
        for i in reversed(range(len(times))):
            if times[i][1] <= latest:
                break
            times[i] = min(times[i][0], latest - shortest), latest
            latest = times[i][0]
        return times

    def clear(self) -> None:
        """The next words are those of another segment."""
        self._settled.clear()

    def forget(self, until: float) -> None:
        """Nobody asks for the audio before ``until`` seconds but the words after it: keep what they may need."""
        reach = 0.0 if self.delay is None else max(0.0, -self.delay.begin[0])
        self.levels.forget(int((until - reach) / self.levels.frame_seconds) - 2 * len(PAUSE))

    def _find(self, emission: Span, delay: Delay, until: float | None) -> Span:
        """Begin and end of a word by the pauses around it, or else by the usual delay."""
        if until is None and emission in self._settled:
            return self._settled[emission]
        levels, seconds = self.levels, self.levels.frame_seconds
        known = len(levels) if until is None else int(until / seconds + 0.5)
        begins = [round((emission[0] + late) / seconds) for late in delay.begin]
        ends = [round((emission[1] + late) / seconds) for late in delay.end]

        def silence(start: int, end: int) -> bytes:
            return levels.silence(start, max(start, min(end, known)), peak).ljust(end - start, b"\1")

        peak = levels.peak(begins[0], min(ends[-1], known))
        # The last pause before the word ends where the word begins; the first one after it begins where the word ends.
        before = silence(begins[0] - len(PAUSE), begins[-1]).rfind(PAUSE)
        after = silence(ends[0], ends[-1] + len(PAUSE)).find(PAUSE)
        begin, end = begins[1] if before < 0 else begins[0] + before, ends[1] if after < 0 else ends[0] + after
        extent = begin * seconds, end * seconds
        if until is None and known >= ends[-1] + len(PAUSE):
            self._settled[emission] = extent
        return extent
