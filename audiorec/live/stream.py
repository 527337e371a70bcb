"""``Stream``: one live source of samples. It gives the words that the same samples give as a file."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from audiorec.live.queue import Queue
from audiorec.live.recognizer import LiveRecognizer
from audiorec.live.session import Session
from audiorec.transcript import ENDPOINT, Ending, Endpoint, Hypothesis

# One step takes at most this much audio, so that memory stays the same however much is given at once.
LONGEST_STEP_SECONDS = 30.0


class Stream(Session):
    """Made by ``Recognizer.stream``: a session on a runner of one slot, whose words are computed in ``accept``."""

    def __init__(
        self,
        recognizer: LiveRecognizer,
        sample_rate: int,
        search: Mapping[str, Any] | None = None,
        segments_only: bool = False,
        endpoint: Endpoint = ENDPOINT,
    ):
        self._runner = runner = recognizer.runner(1, own=search is not None)
        self._slot: int | None = None
        self._queue = Queue()
        self._longest = max(1, int(LONGEST_STEP_SECONDS * recognizer.sample_rate) // runner.period) * runner.period
        super().__init__(recognizer, sample_rate, search, segments_only, endpoint)

    def _feed(self, samples: np.ndarray) -> None:
        self._queue.push(samples)
        runner, queue, rows = self._runner, self._queue, [self._endpointer]
        if self._slot is None and queue.size >= runner.first_feed:
            more = min(queue.size - runner.first_feed, self._longest) // runner.period * runner.period
            (self._slot,), (parts,) = runner.begin(queue.pop(runner.first_feed + more)[None], rows, [self._own])
            self._inbox.extend(parts)
        while self._slot is not None and queue.size >= runner.period:
            size = min(queue.size // runner.period * runner.period, self._longest)
            (parts,) = runner.step([self._slot], queue.pop(size)[None], rows)
            self._inbox.extend(parts)

    def _feed_for(self, samples: int) -> int:
        return self._runner.feed_for(samples)

    def _look(self) -> Hypothesis:
        self._drain()
        if self._slot is None or not self._runner.revises:
            return Hypothesis()
        return self._runner.partial(self._slot)

    def _wait(self) -> None:
        pass

    def _commit(self) -> None:
        assert self._slot is not None  # enough was fed
        self._inbox.extend(self._runner.commit(self._slot, self._endpointer))

    def _finish(self) -> Ending:
        rest = self._queue.pop(self._queue.size)
        (parts,), (ending,) = self._runner.finish([self._slot], [rest], [self._endpointer], [self._own])
        self._slot = None
        self._inbox.extend(parts)
        return ending
