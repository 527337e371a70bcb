"""``Stream``: one live source of samples. It gives the words that the same samples give as a file."""

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import torch
from audiorec_kernels.precision import full_precision
from torch import Tensor

from audiorec.audio.resample import Resampler
from audiorec.errors import UserError
from audiorec.recognizer.inputs import Samples, to_array
from audiorec.recognizer.result import Result, Segment
from audiorec.search import Hypothesis, conclude

if TYPE_CHECKING:
    from audiorec.recognizer.recognizer import Recognizer

# One step takes at most this much audio, so that memory stays the same however much is given at once.
LONGEST_STEP_SECONDS = 30.0


class Stream:
    """Made by ``Recognizer.stream``. ``accept`` samples as they come, look at ``partial``, and ``finish``.

    As a context manager it finishes at the block's end, unless that raised; ``partial`` is then the final result.
    """

    def __init__(self, recognizer: "Recognizer", sample_rate: int):
        self.recognizer = recognizer
        self.sample_rate = sample_rate
        model = recognizer.model
        self._resampler = Resampler(sample_rate, model.sample_rate)
        self._waiting = np.zeros(0, np.float32)
        self._needed = model.first_feed
        self._longest = max(1, int(LONGEST_STEP_SECONDS * model.sample_rate) // model.period) * model.period
        self._state = model.initial_state(1)
        self._search = recognizer.search()
        self._search_state = self._search.initial_state(1, recognizer.device)
        self._committed = Hypothesis()
        self._word_times = recognizer.word_times()
        self._finished = False

    def __enter__(self) -> "Stream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and not self._finished:
            self.finish()

    def accept(self, samples: Samples) -> list[Segment]:
        """Take the next samples (T,), any number: float in [−1, 1] or 16- or 32-bit integers.

        Returns the segments that ended in them. Raises UserError for NaN, or for a stream that is finished.
        """
        self._must_be_open("accept samples")
        self._take(self._resampler.push(to_array(samples, "stream")))
        model = self.recognizer.model
        while len(self._waiting) >= self._needed:
            size = self._needed + (len(self._waiting) - self._needed) // model.period * model.period
            size = min(size, max(self._needed, self._longest))
            self._step(self._waiting[:size])
            self._waiting = self._waiting[size:]
            self._needed = model.period
        return []

    @torch.inference_mode()
    def partial(self) -> Result:
        """The words so far: the segments that ended, then the one under way. Of a finished stream, all of them."""
        if self._finished:
            return self._result(self._committed)
        return self._result(self._committed + self._search.partial(self._search_state).hypothesis(0))

    def finish(self) -> Result:
        """End the stream: the words of all its samples, those that look-ahead held back too."""
        self._must_be_open("finish")
        self._finished = True
        self._take(self._resampler.flush())
        if len(rest := self._waiting):
            self._step(rest)
        with torch.inference_mode(), full_precision(self._search_state["margin"]):
            self._search_frames(self.recognizer.model.flush(self._state)[0])
            (decoded,) = conclude(self._search, self._search_state, [self._committed])
        self._committed = decoded.best
        return self._result(decoded.best, decoded.nbest)

    def _must_be_open(self, what: str) -> None:
        if self._finished:
            raise UserError(f"stream: is finished and cannot {what}; open another with Recognizer.stream()")

    def _take(self, samples: np.ndarray) -> None:
        """Samples at the model's rate wait for the next step."""
        self._word_times.push(samples)
        self._waiting = np.concatenate([self._waiting, samples])

    @torch.inference_mode()
    def _step(self, samples: np.ndarray) -> None:
        x = torch.from_numpy(samples).to(self.recognizer.device)[None, :, None]
        with full_precision(x):
            x, _, self._state = self.recognizer.model.step(x, None, self._state)
            self._search_frames(x)

    def _search_frames(self, x: Tensor) -> None:
        if x.shape[1]:
            tokens, self._search_state = self._search.step(x, None, self._search_state)
            self._committed.extend(tokens.hypothesis(0))

    def _result(self, best: Hypothesis, nbest: Sequence[Hypothesis] = ()) -> Result:
        return self.recognizer.result(best, self._word_times, float(self._search_state["margin"][0]), nbest)
