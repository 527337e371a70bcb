"""Begin and end of words, from the frames that emitted their tokens, the model's delay and the level of the audio.

CTC and transducers emit a token once, at some frame after the word has begun. How long after was measured for the model: it
tells where the begin can lie, and the pause in that stretch, if there is one, where it does. The end is found likewise.
"""

from collections.abc import Sequence

import numpy as np
from pydantic import Field, FiniteFloat, NonNegativeInt, field_validator

from audiorec.audio.levels import Levels
from audiorec.config import Config

PAUSE = b"\1" * 8  # silent frames of 10 ms that part words; the closure of a stop inside a word is shorter
SHORTEST = 0.01  # seconds: no word is shorter

Span = tuple[float, float]  # begin and end in seconds


class Delay(Config):
    """How far begins and ends of words lie from the emission of their tokens: lowest, median and highest, in seconds."""

    begin: tuple[FiniteFloat, FiniteFloat, FiniteFloat] = Field(
        description="from the start of the frame of a word's first token to the word's begin"
    )
    end: tuple[FiniteFloat, FiniteFloat, FiniteFloat] = Field(
        description="from the end of the frame of a word's last token to the word's end"
    )
    words: NonNegativeInt = Field(0, description="words that were measured")

    @field_validator("begin", "end")
    @classmethod
    def _ascends(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if list(value) != sorted(value):
            raise ValueError("needs lowest, median and highest in this order")
        return value


class WordTimes:
    """``push`` samples (T,) at ``sample_rate`` Hz as they come; ``__call__`` gives begin and end of the words in them.

    ``delay`` None is that of a model that was not measured: a word lasts from its first token to its last.
    """

    def __init__(self, sample_rate: int, delay: Delay | None, samples: np.ndarray | None = None):
        self.levels = Levels(sample_rate, samples)
        self.delay = delay
        self.push = self.levels.push
        self._settled: dict[Span, Span] = {}  # of words which later audio does not change

    def __call__(self, emissions: Sequence[Span]) -> list[Span]:
        """Begin and end of each word: in order, without overlap, within the audio.

        ``emissions`` are the start of the frame of each word's first token and the end of its last token's.
        """
        times: list[Span] = []
        shortest = min(SHORTEST, self.levels.seconds / (len(emissions) + 1))
        for emission in emissions:
            begin, end = (
                emission if self.delay is None else self._settled.get(emission) or self._find(emission, self.delay)
            )
            begin = max(begin, 0.0)
            if times and times[-1][1] > begin:  # words that overlap meet half way
                before, begin = times[-1][0], max((times[-1][1] + begin) / 2, times[-1][0] + shortest)
                times[-1] = before, begin
            times.append((begin, max(end, begin + shortest)))
        latest = self.levels.seconds
        for i in reversed(range(len(times))):
            if times[i][1] <= latest:
                break
            times[i] = min(times[i][0], latest - shortest), latest
            latest = times[i][0]
        return times

    def _find(self, emission: Span, delay: Delay) -> Span:
        """Begin and end of a word by the pauses around it, or else by the usual delay."""
        levels, seconds = self.levels, self.levels.frame_seconds
        begins = [round((emission[0] + late) / seconds) for late in delay.begin]
        ends = [round((emission[1] + late) / seconds) for late in delay.end]
        peak = levels.peak(begins[0], ends[-1])
        # The last pause before the word ends where the word begins; the first one after it begins where the word ends.
        before = levels.silence(begins[0] - len(PAUSE), begins[-1], peak).rfind(PAUSE)
        after = levels.silence(ends[0], ends[-1] + len(PAUSE), peak).find(PAUSE)
        begin, end = begins[1] if before < 0 else begins[0] + before, ends[1] if after < 0 else ends[0] + after
        extent = begin * seconds, end * seconds
        if len(levels.frames) >= ends[-1] + len(PAUSE):
            self._settled[emission] = extent
        return extent
