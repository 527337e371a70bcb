"""``EngineSession``: one stream of an ``Engine``, for threads and for asyncio."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from audiorec.errors import UserError
from audiorec.live.inputs import Samples, to_packet
from audiorec.live.queue import Queue
from audiorec.live.session import Boundary, Session
from audiorec.transcript import Ending, Endpoint, Hypothesis, Result, Segment

if TYPE_CHECKING:
    from audiorec.live.engine import Engine


class EngineSession(Session):
    """Made by ``Engine.session``. Its words are computed by the engine, soon after ``accept``.

    ``accept``, ``flush`` and ``finish`` are one thread's at a time, ``partial`` is anybody's. In asyncio ``await`` their
    namesakes, ``accept_async`` and so on, and ``async for result in session`` gives the result whenever it changes, until the
    last one.
    """

    def __init__(
        self,
        engine: "Engine",
        sample_rate: int,
        search: Mapping[str, Any] | None,
        segments_only: bool,
        seconds: float,
        bytes: float,
        idle_seconds: float,
        endpoint: Endpoint,
    ):
        self._engine = engine
        self._samples_left, self._bytes_left = seconds * sample_rate, bytes
        self._idle_seconds = idle_seconds
        self._idle_at = time.monotonic() + idle_seconds
        self._why_ended = "is finished"
        self._wakers: list[Callable[[], Any]] = []
        # The engine's, under its lock. Samples are resampled where they are computed, those of a batch one after another: each
        # ``accept`` interrupts the engine, so it does little.
        self._taken: list[np.ndarray] = []  # as they were given
        self._queue = Queue()
        self._needed = engine._runner.first_feed
        self._fed = 0
        self._marks: deque[tuple[int, float]] = deque()  # of samples that complete a period: their end, when they came
        self._request: str | None = None  # wait, commit, finish (a new stream follows) or end
        self._cancelled = False
        self._ending: Ending | None = None
        # The worker's, under the device's lock, as ``_inbox`` is:
        self._slot: int | None = None
        super().__init__(engine.recognizer, sample_rate, search, segments_only, endpoint)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            super().__exit__(kind, error, trace)
        else:
            self.cancel()

    def accept(self, samples: "Samples | bytes", block: bool = True) -> list[Segment]:
        """As ``Session.accept``. It waits while the queue is full; with ``block`` False that is a UserError.

        Raises UserError, too, past the session's limits of seconds and bytes, when it was idle for too long, and when the
        engine is closed. Samples that are refused are not taken, and the stream may go on.
        """
        with self._alone("accept samples"):
            self._must_be_open("accept samples")
            size = len(samples) * getattr(samples, "itemsize", 1)
            samples = to_packet(samples)
            if len(samples) > self._samples_left or size > self._bytes_left:
                limit = "seconds" if len(samples) > self._samples_left else "bytes"
                raise UserError(f"stream: longer than the {limit} that its session was opened for; finish it")
            self._engine._admit(self, len(samples), block)
            self._samples_left -= len(samples)
            self._bytes_left -= size
            self._give(samples)
            self._idle_at = time.monotonic() + self._idle_seconds
            return self._ended()

    def partial(self) -> Result:
        """As ``Session.partial``, from any thread."""
        if self._cancelled:
            raise UserError("stream: was cancelled and has no words")
        if self._finished and self._result is None and self._in_use.acquire(blocking=False):
            try:
                self._receive()
            finally:
                self._in_use.release()
        return self._so_far()

    def finish(self) -> Result:
        """As ``Session.finish``. Of a session that the engine has ended, its result."""
        with self._alone("finish"):
            if self._finished and self._why_ended != "is finished":
                return self._receive()
            self._must_be_open("finish")
            return self._end()

    def cancel(self) -> None:
        """End the stream without a result; its slot is free at the next border of periods."""
        with self._alone("cancel"):
            self._finished = True
            self._engine._cancel(self)
        self._wake()

    def watch(self, wake: Callable[[], Any]) -> None:
        """Have ``wake`` called, in the engine's thread, whenever something may be new."""
        self._wakers.append(wake)

    async def accept_async(self, samples: "Samples | bytes") -> list[Segment]:
        """``accept`` in a thread of its own, which may wait for room in the queue."""
        return await asyncio.to_thread(self.accept, samples)

    async def flush_async(self, boundary: Boundary) -> list[Segment]:
        """``flush`` in a thread of its own."""
        return await asyncio.to_thread(self.flush, boundary)

    async def finish_async(self) -> Result:
        """``finish`` in a thread of its own."""
        return await asyncio.to_thread(self.finish)

    async def __aiter__(self) -> AsyncIterator[Result]:
        """The result whenever it has changed; the last one is that of ``finish``. Ends without one after ``cancel``."""
        loop, event, last = asyncio.get_running_loop(), asyncio.Event(), Result([])

        def wake() -> None:
            loop.call_soon_threadsafe(event.set)

        self._wakers.append(wake)
        try:
            while not self._cancelled:
                event.clear()
                try:
                    result = await asyncio.to_thread(self.partial)
                except UserError:
                    if self._cancelled:  # meanwhile
                        return
                    raise
                if result is self._result or result.segments != last.segments:
                    yield result
                if result is self._result:
                    return
                last = result
                await event.wait()
        finally:
            self._wakers.remove(wake)

    # What the engine calls

    def _wake(self) -> None:
        """Something is new for those who wait in asyncio."""
        for wake in list(self._wakers):
            try:
                wake()
            except RuntimeError:  # the event loop is closed, nobody waits there any more
                continue

    def _end_by_engine(self, why: str) -> None:
        """End the stream if it is not; after the call that is under way in another thread."""
        with self._in_use:
            if not self._finished and self._engine._failure is None:
                self._why_ended = why
                self._end()

    def _end_idle(self) -> None:
        """In the worker: end the stream, unless a call is under way, which then is no idle one."""
        if not self._in_use.acquire(blocking=False):
            self._idle_at = time.monotonic() + self._idle_seconds
            return
        try:
            self._why_ended = f"got no samples for {self._idle_seconds:g} s, so the engine finished it"
            self._finished = True
            self._prepare()
            rest, tail = self._rest()  # less than a second, which the queue takes without waiting
            self._levels.push(rest)
            for samples in (rest, tail):
                self._engine._push(self, samples)
            self._engine._note(self, "end")
        finally:
            self._in_use.release()

    # What a ``Session`` asks for

    def _end(self) -> Result:
        self._finished = True
        self._pass_rest()
        self._engine._ask(self, "end")
        return self._receive()

    def _receive(self) -> Result:
        """The result, when the worker has ended the stream."""
        if self._result is None:
            self._engine._answer(self)
            assert self._ending is not None  # the answer
            self._result = self._conclude(self._ending)
            self._wake()
        return self._result

    def _must_be_open(self, what: str) -> None:
        if self._finished:
            raise UserError(f"stream: {self._why_ended} and cannot {what}; open another")

    def _take(self, samples: np.ndarray) -> None:
        self._engine._take(self, samples.copy())  # whoever records may use his buffer again

    def _pass_rest(self) -> None:
        self._settle()
        super()._pass_rest()

    def _carry(self) -> None:
        self._settle()
        super()._carry()

    def _settle(self) -> None:
        with self._engine._work:
            self._prepare()

    def _prepare(self) -> None:
        """Under the engine's lock: what was taken goes into the queue."""
        if self._taken:
            samples, self._taken = self._resampler.push(np.concatenate(self._taken)), []
            self._span_passed += len(samples)
            self._levels.push(samples)
            self._queue.push(samples)

    @property
    def _size(self) -> int:
        """Samples at the model's rate that wait, once they are all in the queue."""
        return self._queue.size + self._resampler.returns(sum(map(len, self._taken)))

    def _feed(self, samples: np.ndarray) -> None:
        self._engine._feed(self, samples)

    def _feed_for(self, samples: int) -> int:
        return self._engine._runner.feed_for(samples)

    def _look(self) -> Hypothesis:
        return self._engine._look(self)

    def _wait(self) -> None:
        self._call("wait")

    def _commit(self) -> None:
        self._call("commit")

    def _call(self, request: str) -> None:
        self._engine._ask(self, request)
        self._engine._answer(self)

    def _finish(self) -> Ending:
        self._call("finish")
        assert self._ending is not None  # the answer
        return self._ending
