"""Which transcripts that a machine made are worth training on: no loops, no odd rates, lengths or doubts."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

PHRASE = 10  # words of the longest phrase whose repeats are looked for


class Said(NamedTuple):
    """What is said in an utterance; ``confidence`` is the mean of its words', None where it is not known."""

    text: str
    confidence: float | None = None


@dataclass(frozen=True)
class Filters:
    """Bounds that a transcript keeps; None: any.

    ``max_repeats``: times that a word, or a phrase of up to ten, may stand in a row, as a decoder that loops has it.
    ``letters_per_second``: least and most letters, spaces left out, of a second of audio. ``allow_empty_text``: a recording
    without a word is kept, whatever its rate and its confidence.
    """

    min_seconds: float = 0.0
    max_seconds: float | None = None
    max_repeats: int | None = None
    letters_per_second: tuple[float, float] | None = None
    min_confidence: float | None = None
    allow_empty_text: bool = False

    def of_length(self, seconds: float) -> str | None:
        """What is wrong with an utterance's length, in a word or two; None: nothing."""
        if seconds < self.min_seconds:
            return "too short"
        return "too long" if self.max_seconds is not None and seconds > self.max_seconds else None

    def fault(self, said: Said | None, seconds: float) -> str | None:
        """What is wrong first with a transcript of so many seconds, in a word or two; None: nothing."""
        if fault := self.of_length(seconds):
            return fault
        if said is None:
            return "without a text"
        words = said.text.split()
        if not words:
            return None if self.allow_empty_text else "empty"
        if self.max_repeats is not None and repeats(words) > self.max_repeats:
            return "repeating themselves"
        if self.letters_per_second:
            least, most = self.letters_per_second
            rate = sum(map(len, words)) / seconds
            if not least <= rate <= most:
                return "too slow" if rate < least else "too fast"
        if self.min_confidence is not None and said.confidence is not None and said.confidence < self.min_confidence:
            return "unsure"
        return None


def sift(texts: Mapping[str, Said], seconds: Mapping[str, float], filters: Filters) -> tuple[list[str], Counter[str]]:
    """The utterances to keep, of those that have ``seconds``, in their order, and how many have which fault."""
    faults = {name: filters.fault(texts.get(name), length) for name, length in seconds.items()}
    return [name for name, fault in faults.items() if not fault], Counter(filter(None, faults.values()))


def repeats(words: list[str]) -> int:
    """The most times that a word, or a phrase of up to ``PHRASE`` words, stands in a row."""
    most = 1
    for size in range(1, min(PHRASE, len(words) // 2) + 1):
        alike = 0  # words in a row that are those of a phrase before
        for earlier, later in zip(words, words[size:], strict=False):
            alike = alike + 1 if earlier == later else 0
            most = max(most, alike // size + 1)
    return most
