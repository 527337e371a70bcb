"""Labelled stretches of audio from the scores of its frames, one after another. numpy alone: every runtime's search calls it."""

from dataclasses import asdict, dataclass, fields
from math import inf, log
from typing import NamedTuple

import numpy as np

from audiorec.text import BLANK
from audiorec.transcript import HELD, Hypothesis

State = dict[str, np.ndarray]


class Rules(NamedTuple):
    """When a stretch begins and ends, in pyannote's words: its label must be as probable as ``onset`` in ``min_on`` frames in a
    row, the first of which is its first; it ends once it was less probable than ``offset`` in ``min_off`` frames in a row, which
    it does not have, or once another begins.
    """

    onset: float = 0.5
    offset: float = 0.5
    min_on: int = 1
    min_off: int = 1


@dataclass
class _Row:
    """What a row keeps from frame to frame."""

    frame: int = 0  # frames seen
    label: int = BLANK  # of the open stretch; BLANK: none is
    last: int = 0  # its last frame so far
    held: int = 0  # its frames, without those of pauses that it bridges
    total: float = 0.0  # the sum of their log-probabilities
    candidate: int = BLANK  # the label that may begin
    run: int = 0  # its frames in a row
    run_total: float = 0.0  # the sum of their log-probabilities
    margin: float = inf  # the smallest distance of a log-probability from what would have decided otherwise

    def see(self, scores: np.ndarray, best: int, rival: float, rules: Rules, said: Hypothesis) -> None:
        """The next frame: log-probabilities (V,), of whose labels ``best`` is the best and ``rival`` the second best's."""
        at, self.frame = self.frame, self.frame + 1
        sure, onset, offset = float(scores[best]), log(rules.onset), log(rules.offset)
        self.margin = min(self.margin, abs(sure - onset))
        if sure >= onset:
            label = best
            self.margin = min(self.margin, sure - rival)
        elif self.label:
            sure = float(scores[self.label])
            label = self.label if sure >= offset else BLANK
            self.margin = min(self.margin, abs(sure - offset))
        else:
            label = BLANK
        if label in (BLANK, self.label):
            self.candidate = self.run = 0
            self.run_total = 0.0
        else:
            if label != self.candidate:
                self.candidate, self.run, self.run_total = label, 0, 0.0
            self.run += 1
            self.run_total += sure
        if label and label == self.label:
            self.last, self.held, self.total = at, self.held + 1, self.total + sure
        elif self.run >= rules.min_on:
            self.end(said)
            said.extend(Hypothesis([label], [at - self.run + 1], [0.0], words=[None]))
            self.label, self.last, self.held, self.total = label, at, self.run, self.run_total
            self.candidate = self.run = 0
            self.run_total = 0.0
        elif self.label and at - self.last >= rules.min_off:
            self.end(said)

    def end(self, said: Hypothesis) -> None:
        """End the open stretch, if there is one, at its last frame."""
        if self.label:
            said.extend(Hypothesis([self.label], [self.last], [self.total / self.held], words=[HELD]))
        self.label = self.held = 0
        self.total = 0.0


NAMES = [field.name for field in fields(_Row)]


def initial_state(batch: int) -> State:
    """That of rows which have not begun: one leaf (B,) for each number that a row keeps."""
    return {
        name: np.full(batch, value, np.float32 if isinstance(value, float) else np.int64)
        for name, value in asdict(_Row()).items()
    }


def advance(
    scores: np.ndarray, lengths: np.ndarray | None, state: State, rules: Rules
) -> tuple[list[Hypothesis], State]:
    """What log-probabilities (B, T, V), blank 0, commit, of which ``lengths`` (B,), all where None, are valid.

    A stretch is two tokens of its label: one at its first frame, committed as soon as it has begun, and one at its last, which
    ends a word and whose log-probability is the mean of the stretch's.
    """
    batch, time, _ = scores.shape
    labels = np.concatenate([scores[..., BLANK + 1 :], np.full((batch, time, 1), -np.inf, scores.dtype)], -1)
    best = labels.argmax(-1) + BLANK + 1
    rivals = np.partition(labels, -2, -1)[..., -2]
    state, said = {name: leaf.copy() for name, leaf in state.items()}, [Hypothesis() for _ in range(batch)]
    for i, hypothesis in enumerate(said):
        frames = time if lengths is None else int(lengths[i])
        if not frames:
            continue
        row = _row(state, i)
        for t in range(frames):
            row.see(scores[i, t], int(best[i, t]), float(rivals[i, t]), rules, hypothesis)
        _store(state, i, row)
    return said, state


def commit(state: State) -> tuple[list[Hypothesis], State]:
    """End the open stretches, at their last frames: what that commits."""
    batch = len(state["frame"])
    state, said = {name: leaf.copy() for name, leaf in state.items()}, [Hypothesis() for _ in range(batch)]
    for i, hypothesis in enumerate(said):
        row = _row(state, i)
        row.end(hypothesis)
        _store(state, i, row)
    return said, state


def _row(state: State, i: int) -> _Row:
    return _Row(**{name: state[name][i].item() for name in NAMES})


def _store(state: State, i: int, row: _Row) -> None:
    for name in NAMES:
        state[name][i] = getattr(row, name)
