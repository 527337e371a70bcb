"""``Session``: the host's part of one live source of samples. What computes its words is a subclass's."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from audiorec.audio.resample import Resampler
from audiorec.errors import UserError
from audiorec.recognizer.inputs import Samples, to_array
from audiorec.recognizer.result import Result, Segment
from audiorec.search import Decoded, Hypothesis

if TYPE_CHECKING:
    from typing_extensions import Self

    from audiorec.recognizer.recognizer import Recognizer


class Queue:
    """Samples that wait, in order."""

    def __init__(self) -> None:
        self._pieces: deque[np.ndarray] = deque()
        self.size = 0

    def push(self, samples: np.ndarray) -> None:
        """Add samples (T,) at the end."""
        self._pieces.append(samples)
        self.size += len(samples)

    def pop(self, count: int) -> np.ndarray:
        """Take the first ``count`` samples, which must be in the queue."""
        parts, missing = [np.zeros(0, np.float32)], count
        while missing:
            piece = self._pieces.popleft()
            if len(piece) > missing:
                self._pieces.appendleft(piece[missing:])
            parts.append(piece[:missing])
            missing -= len(parts[-1])
        self.size -= count
        return np.concatenate(parts)


class Session(ABC):
    """``accept`` samples as they come, look at ``partial``, and ``finish``.

    As a context manager it finishes at the block's end, unless that raised; ``partial`` is then the final result. It is one
    thread's at a time: a second one that calls while the first is inside gets a UserError, and nothing is lost.
    """

    def __init__(self, recognizer: "Recognizer", sample_rate: int):
        self.recognizer = recognizer
        self.sample_rate = sample_rate
        self._resampler = Resampler(sample_rate, recognizer.sample_rate)
        self._word_times = recognizer.word_times()
        self._in_use = Lock()
        self._finished = False
        self._result: Result | None = None

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and not self._finished:
            self.finish()

    def accept(self, samples: Samples) -> list[Segment]:
        """Take the next samples (T,), any number: float in [−1, 1] or 16- or 32-bit integers.

        Returns the segments that ended in them. Raises UserError for NaN, or for a stream that is finished; the samples are
        then not taken, and the stream may go on.
        """
        with self._alone("accept samples"):
            self._must_be_open("accept samples")
            self._take(self._resampler.push(to_array(samples, "stream")))
        return []

    def partial(self) -> Result:
        """The words so far: the segments that ended, then the one under way. Of a finished stream, all of them."""
        with self._alone("give its words"):
            if self._result is not None:
                return self._result
            best, margin = self._best()
            return self.recognizer.result(best, self._word_times, margin)

    def finish(self) -> Result:
        """End the stream: the words of all its samples, those that look-ahead held back too."""
        with self._alone("finish"):
            self._must_be_open("finish")
            return self._end()

    def _end(self) -> Result:
        self._finished = True
        self._take(self._resampler.flush())
        decoded = self._conclude()
        self._result = self.recognizer.result(decoded.best, self._word_times, decoded.margin, decoded.nbest)
        return self._result

    @contextmanager
    def _alone(self, what: str) -> Iterator[None]:
        if not self._in_use.acquire(blocking=False):
            raise UserError(
                f"stream: cannot {what} while another thread uses it; call accept, partial and finish from one thread, or "
                "guard them by a lock"
            )
        try:
            yield
        finally:
            self._in_use.release()

    def _must_be_open(self, what: str) -> None:
        if self._finished:
            raise UserError(f"stream: is finished and cannot {what}; open another")

    def _take(self, samples: np.ndarray) -> None:
        """Samples at the model's rate go where words are computed."""
        self._word_times.push(samples)
        self._feed(samples)

    @abstractmethod
    def _feed(self, samples: np.ndarray) -> None:
        """Take the next samples (T,) at the model's rate."""

    @abstractmethod
    def _best(self) -> tuple[Hypothesis, float]:
        """All tokens of the best hypothesis so far, and the margin."""

    @abstractmethod
    def _conclude(self) -> Decoded:
        """The hypotheses of all samples: the stream has ended."""
