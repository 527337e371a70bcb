"""What a user of a stream feels: how late words come, how many change, how long the end takes.

Delays are in seconds of audio: how much of it a stream had to hear, whatever the machine. A word's delay is the time heard when
the word stands as it stays, minus the time at which its last sound ends.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from audiorec.evaluation.ctm import read_ctm
from audiorec.live import Session

if TYPE_CHECKING:
    from audiorec.transcript import Result

TIMES = "words.ctm"
Spans = Sequence[tuple[str, float, float]]
"""words with their begins and ends"""


class Look(NamedTuple):
    """The words that a stream shows once it has heard ``heard`` seconds."""

    heard: float
    words: list[str]


class Watch:
    """Feeds a stream, and looks at its words after each piece. ``clock`` tells seconds; looking is not timed."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        self._clock = clock
        self.looks: list[Look] = []  # one for each change
        self.work = 0.0  # seconds, the end included
        self.finalize = 0.0  # seconds from the last sample taken to all words

    def listen(self, session: Session, samples: np.ndarray, chunk_ms: float) -> "Result":
        """The result of a stream that gets samples (T,) in pieces of ``chunk_ms``, each when the one before is done."""
        rate = session.sample_rate
        size = max(1, round(chunk_ms * rate / 1000))
        for start in range(0, len(samples), size):
            piece = samples[start : start + size]
            begin = self._clock()
            session.accept(piece)
            session.wait()
            self.work += self._clock() - begin
            self._look((start + len(piece)) / rate, session.partial())
        begin = self._clock()
        result = session.finish()
        self.finalize = self._clock() - begin
        self.work += self.finalize
        self._look(len(samples) / rate, result)
        return result

    def _look(self, heard: float, result: "Result") -> None:
        words = result.text.split()
        if words != (self.looks[-1].words if self.looks else []):
            self.looks.append(Look(heard, words))

    def settled(self) -> list[float]:
        """For each final word: the seconds heard when it stood as it stays."""
        final = self.looks[-1].words if self.looks else []
        times = [0.0] * len(final)
        kept = 0  # words of the look before that are final ones
        for heard, words in self.looks:
            right = _common(words, final)
            times[kept:right] = [heard] * (right - kept) if right > kept else []
            kept = right
        return times

    def changed(self) -> int:
        """Words that were shown and then replaced or removed; a word that grows ("thir", "thirty") is replaced."""
        pairs = zip(self.looks, self.looks[1:], strict=False)
        return sum(len(a.words) - _common(a.words, b.words) for a, b in pairs)


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    """The length of the longest common beginning."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def read_aligned(data: Path | str, aligned: Path | str | None) -> tuple[str, dict[str, Spans]] | None:
    """The name and the words of a CTM, ``aligned`` or the one that a data directory has; None where there is none.

    Raises UserError where the one that is named cannot be read.
    """
    path = Path(aligned) if aligned else Path(data) / TIMES
    if not aligned and not path.exists():
        return None
    return path.name, {name: [tuple(word) for word in words] for name, words in read_ctm(path).items()}


def measure(
    watches: Mapping[str, Watch],
    results: "Mapping[str, Result]",
    audio_seconds: float,
    work_seconds: float,
    aligned: tuple[str, Mapping[str, Spans]] | None,
) -> dict[str, Any]:
    """The figures of streams, for ``streaming.json``.

    ``aligned`` tells when the words are said; None takes the times that the model gives. Where it has other words than the
    result, the utterance has no delays: ``timed`` counts those that have.
    """
    name, spans = aligned or ("the model's own times", {n: _own(result) for n, result in results.items()})
    first, words = [], []
    timed = 0
    for utterance, watch in watches.items():
        span = spans.get(utterance, [])
        if not watch.looks or not span or [word for word, _, _ in span] != watch.looks[-1].words:
            continue
        timed += 1
        first.append(watch.looks[0].heard - span[0][1])
        words += [round(heard - end, 3) for heard, (_, _, end) in zip(watch.settled(), span, strict=True)]
    final = sum(len(watch.looks[-1].words) for watch in watches.values() if watch.looks)
    return {
        "aligned": name,
        "utterances": len(watches),
        "timed": timed,
        "first_partial": _figures(first),
        "word_delay": _figures(words),
        "changed": round(sum(watch.changed() for watch in watches.values()) / final, 4) if final else None,
        "finalize": _figures([watch.finalize for watch in watches.values()]),
        "real_time_factor": round(work_seconds / audio_seconds, 4) if audio_seconds else None,
        "word_delays": words,
    }


def _own(result: "Result") -> Spans:
    return [(word.text, word.start, word.end) for word in result.words]


def _figures(seconds: Sequence[float]) -> dict[str, float] | None:
    if not seconds:
        return None
    median, late = np.percentile(seconds, [50, 95])
    return {"mean": round(mean(seconds), 4), "median": round(float(median), 4), "p95": round(float(late), 4)}
