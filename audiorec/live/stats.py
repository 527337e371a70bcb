"""``EngineStats``: how busy an engine is, and how soon words come."""

from collections import deque
from dataclasses import dataclass

import numpy as np

RECENT = 10_000  # latencies that the percentiles are of


@dataclass(frozen=True)
class EngineStats:
    """``streams`` that are open, of ``slots``. ``batch_fill``: streams in a step, mean, as a share of the slots.

    ``latency_ms`` holds the 50th, 95th and 99th percentile of the time from the ``accept`` that completes a period until its
    words are there, of recent ones; NaN before the first. ``real_time_factor``: seconds of computing per second of audio, all
    streams together; NaN before the first. ``state_bytes``: of all slots.
    """

    streams: int
    slots: int
    batch_fill: float
    latency_ms: tuple[float, float, float]
    real_time_factor: float
    state_bytes: int


class Meter:
    """Adds up what the ticks of an engine cost."""

    def __init__(self) -> None:
        self.steps = self.rows = 0
        self.busy_seconds = self.audio_seconds = 0.0
        self.latencies: deque[float] = deque(maxlen=RECENT)

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
        )
