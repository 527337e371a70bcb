"""``Session``: the host's part of one live source of samples. What computes its words is a subclass's."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Lock, RLock
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from audiorec.audio.levels import Levels
from audiorec.audio.resample import Resampler
from audiorec.errors import UserError
from audiorec.live.inputs import Samples, to_packet
from audiorec.live.recognizer import LiveRecognizer
from audiorec.transcript import (
    ENDPOINT,
    Ending,
    Endpoint,
    Endpointer,
    Hypothesis,
    Part,
    Result,
    Segment,
    Transcript,
)
from audiorec.transcript.result import join

if TYPE_CHECKING:
    from typing_extensions import Self

Boundary = Literal["reset", "carry", "soft"]


class News(NamedTuple):
    """Segments that ``ended`` since the last call, the one ``under_way`` as it stands, and the text of it that is ``settled``:
    whatever comes, that only grows."""

    ended: list[Segment]
    under_way: Segment
    settled: str


class Session(ABC):
    """``accept`` samples as they come, look at ``partial``, and ``finish``.

    Segments of speech end where the recogniser's ``endpoint`` says; ``accept`` returns those that ended. ``partial`` and
    ``finish`` give all of them, with ``segments_only`` only those that ``accept`` did not return: then memory stays the same
    however long the stream is. As a context manager it finishes at the block's end, unless that raised; ``partial`` is then the
    final result. It is one thread's at a time: a second one that calls while the first is inside gets a UserError, and nothing
    is lost. ``search`` has keys of a SearchConfig, hotwords and n-gram, for this stream alone; so has ``endpoint`` of an
    EndpointConfig, or None for no segments. ENDPOINT is the recogniser's own.
    """

    def __init__(
        self,
        recognizer: LiveRecognizer,
        sample_rate: int,
        search: Mapping[str, Any] | None = None,
        segments_only: bool = False,
        endpoint: Endpoint = ENDPOINT,
    ):
        self._own = None if search is None else recognizer.own_automata(search)
        self._endpoint = recognizer.usable_endpoint(endpoint)
        self.recognizer = recognizer
        self.sample_rate = sample_rate
        self.segments_only = segments_only
        self._in_use = Lock()
        self._words = RLock()  # around the transcript and its segments
        self._finished = False
        self._result: Result | None = None
        self._segments: list[Segment] = []  # that ended
        self._news: list[Segment] = []  # those of them that no call has returned yet
        self._margin = float("inf")
        self._given = 0  # samples of the caller
        self._silence = 0  # samples that boundaries put in
        self._begin()

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and not self._finished:
            self.finish()

    def accept(self, samples: "Samples | bytes") -> list[Segment]:
        """Take the next samples (T,), any number: float in [−1, 1], 16- or 32-bit integers, or bytes of 16-bit PCM.

        Returns the segments that ended since the last call. Raises UserError for NaN, or for a stream that is finished; the
        samples are then not taken, and the stream may go on.
        """
        with self._alone("accept samples"):
            self._must_be_open("accept samples")
            self._give(to_packet(samples))
            return self._ended()

    def wait(self) -> None:
        """Until all samples are computed that fill a period of the model; of a ``Stream`` they are."""
        with self._alone("wait"):
            self._must_be_open("wait")
            self._wait()

    def partial(self) -> Result:
        """The words so far: the segments that ended, then the one under way. Of a finished stream, all of them."""
        with self._alone("give its words"):
            return self._so_far()

    def news(self) -> News:
        """What is new, for whoever shows words as they come. ``accept`` and ``flush`` do not return these segments again."""
        with self._alone("give its news"), self._words:
            under_way = self._transcript.open(self._look())
            settled = self._transcript.open().text
            return News(self._take_news(), under_way, settled)

    def flush(self, boundary: Boundary) -> list[Segment]:
        """Words of all samples so far, without ending the stream: the segments that ended since the last call, this one too.

        ``soft`` gives the words that are decided, and touches nothing: the words of the whole stream are what they are without.
        ``carry`` gives all words: silence is put in until the model holds no more back, so the words of the whole stream are
        those of the audio with this silence in it (a beam's hypotheses are decided there); ``silence`` counts it. ``reset``
        gives all words and forgets: what follows has the words that it has alone. In mid-sentence the last two may cut a word.
        Raises UserError for another boundary.
        """
        if boundary not in get_args(Boundary):
            raise UserError(f"stream: no boundary {boundary!r}; give {', '.join(get_args(Boundary))}")
        with self._alone("flush"):
            self._must_be_open("flush")
            if not self._span_given:
                return self._ended()
            if boundary == "soft":
                self._wait()
                with self._words:
                    self._drain()
                    self._add(self._transcript.close())
            elif boundary == "carry":
                self._carry()
            else:
                self._close()
                with self._words:
                    self._begin()
            return self._ended()

    def finish(self) -> Result:
        """End the stream: the words of all its samples, those that look-ahead held back too."""
        with self._alone("finish"):
            self._must_be_open("finish")
            return self._end()

    @property
    def silence(self) -> int:
        """Samples of silence at ``sample_rate`` that ``flush("carry")`` has put in."""
        return self._silence

    # The parts of this class

    def _begin(self) -> None:
        """Begin as a new stream does, at this time of the session."""
        recognizer = self.recognizer
        self._resampler = Resampler(self.sample_rate, recognizer.sample_rate)
        self._levels = Levels(recognizer.sample_rate)
        self._endpointer = Endpointer(
            self._endpoint, recognizer.frame_seconds, self._levels, recognizer.tokenizer.begins_word
        )
        self._transcript = Transcript(
            recognizer.tokenizer,
            recognizer.frame_seconds,
            self._levels,
            recognizer.delay,
            self._given / self.sample_rate,
        )
        self._inbox: deque[Part] = deque()  # what was committed and is not in the transcript yet
        self._span_given = self._span_passed = 0  # samples at ``sample_rate`` and at the model's rate since ``_begin``

    def _give(self, samples: np.ndarray) -> None:
        self._given += len(samples)
        self._span_given += len(samples)
        self._take(samples)

    def _take(self, samples: np.ndarray) -> None:
        """Resample the next samples and pass them on, now or before they are computed."""
        self._pass(self._resampler.push(samples))

    def _pass(self, samples: np.ndarray) -> None:
        """Samples at the model's rate go where words are computed."""
        self._span_passed += len(samples)
        self._levels.push(samples)
        self._feed(samples)

    def _rest(self) -> tuple[np.ndarray, np.ndarray]:
        """The last samples at the model's rate, and the silence after them: no audio, so levels and times know nothing of it."""
        tail = self.recognizer.tail if self._span_given else 0
        return self._resampler.flush(), np.zeros(tail, np.float32)

    def _pass_rest(self) -> None:
        samples, tail = self._rest()
        self._pass(samples)
        self._feed(tail)

    def _carry(self) -> None:
        rates = self.sample_rate, self.recognizer.sample_rate
        end = self._span_given / self.sample_rate
        target = self._feed_for(-(-self._span_given * rates[1] // rates[0]) + self.recognizer.tail)
        silence = 0
        while (missing := target - self._span_passed) > 0:
            zeros = np.zeros(max(1, missing * rates[0] // rates[1]), np.float32)
            silence += len(zeros)
            self._span_given += len(zeros)
            self._pass(self._resampler.push(zeros))
        self._commit()
        with self._words:
            self._drain(end)
            self._transcript.skip(end, end + silence / self.sample_rate)
            self._silence += silence

    def _end(self) -> Result:
        self._finished = True
        self._result = self._close()
        return self._result

    def _close(self) -> Result:
        """End what began at ``_begin``; all words so far."""
        self._pass_rest()
        return self._conclude(self._finish())

    def _conclude(self, ending: Ending) -> Result:
        with self._words:
            self._drain(self._levels.seconds)
            nbest = self._transcript.alternatives(join(self._segments), ending.nbest)
            self._add(self._transcript.close(ending.best))
            self._margin = min(self._margin, ending.margin)
            return Result(list(self._segments), self._margin, nbest, self._seconds)

    def _so_far(self) -> Result:
        with self._words:
            if self._result is not None:
                return self._result
            segment = self._transcript.open(self._look())
            segments = [*self._segments, segment] if segment.text else list(self._segments)
            return Result(segments, seconds=self._seconds)

    @property
    def _seconds(self) -> float:
        return self._given / self.sample_rate

    def _drain(self, limit: float = float("inf")) -> None:
        """What was committed goes into the transcript; no segment ends later than at ``limit`` seconds."""
        while self._inbox:
            self._add(self._transcript.hear([self._inbox.popleft()], limit))

    def _add(self, ended: list[Segment]) -> None:
        self._segments += ended
        self._news += ended

    def _ended(self) -> list[Segment]:
        with self._words:
            self._drain()
            return self._take_news()

    def _take_news(self) -> list[Segment]:
        news, self._news = self._news, []
        if self.segments_only:
            self._segments.clear()
        return news

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

    # What a subclass computes; all that is committed it puts into ``_inbox``

    @abstractmethod
    def _feed(self, samples: np.ndarray) -> None:
        """Take the next samples (T,) at the model's rate."""

    @abstractmethod
    def _feed_for(self, samples: int) -> int:
        """As ``Runner.feed_for``."""

    @abstractmethod
    def _look(self) -> Hypothesis:
        """Drain the inbox; the best hypothesis's tokens that are not committed."""

    @abstractmethod
    def _wait(self) -> None:
        """Until all samples are searched that fill a period."""

    @abstractmethod
    def _commit(self) -> None:
        """Wait, then end the segment at the last frame."""

    @abstractmethod
    def _finish(self) -> Ending:
        """How the stream ends after its last samples. The next ones, if any come, are those of a new stream."""
