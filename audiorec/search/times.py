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


def word_times(emissions: Sequence[Span], levels: Levels, delay: Delay | None) -> list[Span]:
    """Begin and end of each word: in order, without overlap, within the audio that ``levels`` has heard.

    ``emissions`` are the start of the frame of each word's first token and the end of its last token's; they are the result
    where the ``delay`` is not known.
    """
    times: list[Span] = []
    shortest = min(SHORTEST, levels.seconds / (len(emissions) + 1))
    for emission in emissions:
        begin, end = emission if delay is None else _extent(*emission, levels, delay)
        begin = max(begin, 0.0)
        if times and times[-1][1] > begin:  # words that overlap meet half way
            before, begin = times[-1][0], max((times[-1][1] + begin) / 2, times[-1][0] + shortest)
            times[-1] = before, begin
        times.append((begin, max(end, begin + shortest)))
    latest = levels.seconds
    for i in reversed(range(len(times))):
        if times[i][1] <= latest:
            break
        times[i] = min(times[i][0], latest - shortest), latest
        latest = times[i][0]
    return times


def _extent(first: float, last: float, levels: Levels, delay: Delay) -> Span:
    """Begin and end of a word by the pauses around it, or else by the usual delay."""
    begins = [round((first + seconds) / levels.frame_seconds) for seconds in delay.begin]
    ends = [round((last + seconds) / levels.frame_seconds) for seconds in delay.end]
    peak = levels.peak(begins[0], ends[-1])
    # The last pause before the word ends where the word begins; the first one after it begins where the word ends.
    before = levels.silence(begins[0] - len(PAUSE), begins[-1], peak).rfind(PAUSE)
    after = levels.silence(ends[0], ends[-1] + len(PAUSE), peak).find(PAUSE)
    begin, end = begins[1] if before < 0 else begins[0] + before, ends[1] if after < 0 else ends[0] + after
    return begin * levels.frame_seconds, end * levels.frame_seconds
