"""``EngineStats``: how busy an engine is, and how soon words come."""

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass

import numpy as np

RECENT = 10_000  # latencies that the percentiles are of
# Seconds; a latency counts for the first bound that is not below it.
LATENCY_BOUNDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, float("inf"))


@dataclass(frozen=True)
class EngineStats:
    """``streams`` that are open, of ``slots``. ``batch_fill``: streams that a tick steps, mean, as a share of the slots.

    ``latency_ms`` holds the 50th, 95th and 99th percentile of the time from the ``accept`` that completes a period until its
    words are there, of recent ones; NaN before the first. ``real_time_factor``: seconds of computing per second of audio, all
    streams together; NaN before the first. ``state_bytes``: of all slots. ``latency_counts``: of all latencies so far, those
    that each of ``LATENCY_BOUNDS`` counts; ``latency_seconds`` is the sum of all.
    """

    streams: int
    slots: int
    batch_fill: float
    latency_ms: tuple[float, float, float]
    real_time_factor: float
    state_bytes: int
    latency_counts: tuple[int, ...] = ()
    latency_seconds: float = 0.0


class Meter:
    """Adds up what the ticks of an engine cost."""

    def __init__(self) -> None:
        self.steps = self.rows = 0
        self.busy_seconds = self.audio_seconds = 0.0
        self.latencies: deque[float] = deque(maxlen=RECENT)
        self.latency_counts = [0] * len(LATENCY_BOUNDS)
        self.latency_seconds = 0.0

    def latency(self, seconds: float) -> None:
        """The words of a period came so long after its last sample."""
        self.latencies.append(seconds)
        self.latency_counts[bisect_left(LATENCY_BOUNDS, seconds)] += 1
        self.latency_seconds += seconds

    def tick(self, busy_seconds: float, audio_seconds: float, rows: int) -> None:
        """A tick took so long for so much audio, ``rows`` streams of it in one step."""
        self.busy_seconds += busy_seconds
        self.audio_seconds += audio_seconds
        self.steps += bool(rows)
        self.rows += rows

    def stats(self, streams: int, slots: int, state_bytes: int) -> EngineStats:
        nan = float("nan")
        percentiles = np.percentile(self.latencies, (50, 95, 99)) * 1000 if self.latencies else np.full(3, nan)
        return EngineStats(
            streams,
            slots,
            self.rows / self.steps / slots if self.steps else 0.0,
            (float(percentiles[0]), float(percentiles[1]), float(percentiles[2])),
            self.busy_seconds / self.audio_seconds if self.audio_seconds else nan,
            state_bytes,
            tuple(self.latency_counts),
            self.latency_seconds,
        )
