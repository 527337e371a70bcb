"""``Stream``: one live source of samples. It gives the words that the same samples give as a file."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from audiorec.audio.read import Resampler, check
from audiorec.errors import UserError
from audiorec.recognizer.result import Result, Segment
from audiorec.search import Hypothesis

if TYPE_CHECKING:
    from audiorec.recognizer.recognizer import Recognizer

# One step takes at most this much audio, so that memory stays the same however much is given at once.
LONGEST_STEP_SECONDS = 30.0


class Stream:
    """Made by ``Recognizer.stream``. ``accept`` samples as they come, look at ``partial``, and ``finish``."""

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
        self._said = Hypothesis()
        self._finished = False

    def accept(self, samples: np.ndarray | Tensor) -> list[Segment]:
        """Take the next samples (T,), any number: float in [−1, 1] or 16- or 32-bit integers.

        Returns the segments that ended in them. Raises UserError for NaN, or for a stream that is finished.
        """
        self._open("accept samples")
        samples = samples.detach().cpu().numpy() if isinstance(samples, Tensor) else samples
        self._waiting = np.concatenate([self._waiting, self._resampler.push(check(samples, "stream"))])
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
        """What is recognised so far."""
        if self._finished:
            return self._result(self._said)
        return self._result(self._said + self._search.partial(self._search_state).hypothesis(0))

    def finish(self) -> Result:
        """End the stream: everything that look-ahead held back is recognised too. Nothing is lost."""
        self._open("finish")
        self._finished = True
        rest = np.concatenate([self._waiting, self._resampler.flush()])
        if len(rest):
            self._step(rest)
        with torch.inference_mode():
            self._emit(self.recognizer.model.flush(self._state)[0])
            nbest = [self._said + one for one in self._search.hypotheses(self._search_state, 0)]
            self._said.extend(self._search.flush(self._search_state).hypothesis(0))
        return self._result(self._said, nbest)

    def _open(self, what: str) -> None:
        if self._finished:
            raise UserError(f"stream: is finished and cannot {what}; open another with Recognizer.stream()")

    @torch.inference_mode()
    def _step(self, samples: np.ndarray) -> None:
        x = torch.from_numpy(samples).to(self.recognizer.device)[None, :, None]
        x, _, self._state = self.recognizer.model.step(x, None, self._state)
        self._emit(x)

    def _emit(self, x: Tensor) -> None:
        if x.shape[1]:
            tokens, self._search_state = self._search.step(x, None, self._search_state)
            self._said.extend(tokens.hypothesis(0))

    def _result(self, said: Hypothesis, nbest: Sequence[Hypothesis] = ()) -> Result:
        return self.recognizer.result(said, float(self._search_state["margin"][0]), nbest)
