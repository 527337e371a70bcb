"""``Stream``: one live source of samples. It gives the words that the same samples give as a file."""

from typing import TYPE_CHECKING

import numpy as np

from audiorec.recognizer.runner import Runner
from audiorec.recognizer.session import Queue, Session
from audiorec.search import Decoded, Hypothesis

if TYPE_CHECKING:
    from audiorec.recognizer.recognizer import Recognizer

# One step takes at most this much audio, so that memory stays the same however much is given at once.
LONGEST_STEP_SECONDS = 30.0


class Stream(Session):
    """Made by ``Recognizer.stream``: a session on a runner of one slot, whose words are computed in ``accept``."""

    def __init__(self, recognizer: "Recognizer", sample_rate: int):
        super().__init__(recognizer, sample_rate)
        model = recognizer.model
        self._runner = Runner(model, recognizer.search(), 1, recognizer.device)
        self._slot: int | None = None
        self._queue = Queue()
        self._longest = max(1, int(LONGEST_STEP_SECONDS * model.sample_rate) // model.period) * model.period
        self._committed = Hypothesis()

    def _feed(self, samples: np.ndarray) -> None:
        self._queue.push(samples)
        period, queue = self.recognizer.model.period, self._queue
        if self._slot is None and queue.size >= (first := self.recognizer.model.first_feed):
            size = first + min(queue.size - first, self._longest) // period * period
            (self._slot,), (tokens,) = self._runner.begin(queue.pop(size)[None])
            self._committed.extend(tokens)
        while self._slot is not None and queue.size >= period:
            size = min(queue.size // period * period, self._longest)
            (tokens,) = self._runner.step([self._slot], queue.pop(size)[None])
            self._committed.extend(tokens)

    def _best(self) -> tuple[Hypothesis, float]:
        if self._slot is None:
            return Hypothesis(), float("inf")
        tokens, margin = self._runner.partial(self._slot)
        return self._committed + tokens, margin

    def _conclude(self) -> Decoded:
        return self._runner.finish(self._slot, self._queue.pop(self._queue.size), self._committed)
