"""Labels of frames against the true ones, every 10 ms: errors of decisions, and ROC curves of scores."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

HOP = 0.01  # seconds


class FrameErrors(NamedTuple):
    """Shares: of all frames that are wrong; of those with a label that lack it; of those without one that have it."""

    error: float
    miss: float
    false_alarm: float


class Roc(NamedTuple):
    """A threshold on scores, from high to low: shares (N,) of false alarms, ascending, and of misses, descending."""

    false_alarms: np.ndarray
    misses: np.ndarray

    @property
    def area(self) -> float:
        """Below the curve of detections against false alarms: 1 is perfect, 0.5 chance."""
        return float(np.trapezoid(1 - self.misses, self.false_alarms))

    def miss_at(self, false_alarm: float) -> float:
        """The least share of misses with at most this share of false alarms."""
        return float(self.misses[self.false_alarms <= false_alarm].min())


def covered(stretches: Iterable[Sequence], seconds: float) -> np.ndarray:
    """(T,) bool: the frames of HOP whose middle lies in one of the stretches (start, end, …)."""
    frames = np.zeros(round(seconds / HOP), bool)
    for start, end, *_ in stretches:
        first, after = (max(0, int(np.ceil(at / HOP - 0.5 - 1e-6))) for at in (start, end))
        frames[first:after] = True
    return frames


def on_grid(scores: np.ndarray, window: float, seconds: float) -> np.ndarray:
    """Scores (N,) of windows one after another, each of ``window`` seconds, as (T,): of the one around each frame's middle."""
    middles = (np.arange(round(seconds / HOP)) + 0.5) * HOP
    return scores[np.minimum((middles / window).astype(int), len(scores) - 1)]


def frame_errors(found: np.ndarray, true: np.ndarray) -> FrameErrors:
    """Of decisions (T,) and truth (T,), both bool; a share of no frames is 0."""
    return FrameErrors(
        float(np.mean(found != true)),
        float(np.mean(~found[true])) if true.any() else 0.0,
        float(np.mean(found[~true])) if (~true).any() else 0.0,
    )


def roc(scores: np.ndarray, true: np.ndarray) -> Roc:
    """Of scores (T,) and truth (T,) bool, which has frames of both sorts."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # frames of one score pass a threshold together
    hits, alarms = np.cumsum(true[order])[ends], np.cumsum(~true[order])[ends]
    return Roc(np.append(0, alarms) / (~true).sum(), 1 - np.append(0, hits) / true.sum())
