"""``Engine``: many live streams over one runner. One thread steps all that have samples waiting, in one batch."""

import time
from collections.abc import Mapping
from threading import Condition, Lock, Thread
from types import TracebackType
from typing import Any

import numpy as np

from audiorec.errors import UserError
from audiorec.live.engine_session import EngineSession
from audiorec.live.recognizer import LiveRecognizer
from audiorec.live.stats import EngineStats, Meter
from audiorec.transcript import ENDPOINT, Ending, Endpoint, Hypothesis

TICK_SECONDS = 1.0  # of audio that a stream is stepped by at most, so that one that floods delays nobody for long


class Engine:
    """Up to ``slots`` sessions at once over one recogniser; any thread may open and use sessions.

    At a border of periods all sessions that have whole periods waiting are stepped, those with as many of them as one batch,
    without padding; those that begin are fed their first samples in a batch of their own. A batch waits up to ``wait_ms`` for
    sessions that have less than a period. ``queue_seconds`` of audio may wait in each session. ``close`` it at the end, or use
    it as a context manager.
    """

    def __init__(self, recognizer: LiveRecognizer, slots: int = 64, queue_seconds: float = 10.0, wait_ms: float = 0.0):
        if slots < 1:
            raise UserError(f"engine: slots must be 1 or more, got {slots}")
        if not queue_seconds > 0:
            raise UserError(f"engine: queue_seconds must be positive, got {queue_seconds}")
        if not wait_ms >= 0:
            raise UserError(f"engine: wait_ms must be 0 or more, got {wait_ms}")
        self.recognizer = recognizer
        self.slots = slots
        self.queue_seconds = queue_seconds
        self.wait_ms = wait_ms
        self.closed = False
        self._runner = runner = recognizer.runner(slots, own=True)
        self._longest = max(1, int(TICK_SECONDS * recognizer.sample_rate) // runner.period)  # periods in a tick
        # A whole feed must find room, or nobody would move.
        self._room = max(int(queue_seconds * recognizer.sample_rate), runner.first_feed, runner.period)
        self._sessions: list[EngineSession] = []
        # Those of them that the worker has to look at, in the order in which they came: a tick does not look at all.
        self._ready: dict[EngineSession, None] = {}  # they have a feed waiting
        self._asking: dict[EngineSession, None] = {}  # they have a request
        self._cancelled: list[EngineSession] = []
        self._idle_at = float("inf")  # none is idle before
        self._meter = Meter()
        self._failure: BaseException | None = None
        self._device = Lock()  # around the runner and the tokens that are committed
        lock = Lock()  # around everything else
        self._work = Condition(lock)  # the worker waits for samples
        self._done = Condition(lock)  # sessions wait for room, slots and answers
        self._worker = Thread(target=self._run, name="audiorec-engine", daemon=True)
        self._worker.start()

    def __enter__(self) -> "Engine":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def session(
        self,
        sample_rate: int | None = None,
        search: Mapping[str, Any] | None = None,
        seconds: float = float("inf"),
        bytes: float = float("inf"),
        idle_seconds: float = float("inf"),
        segments_only: bool = False,
        wait: bool = False,
        endpoint: Endpoint = ENDPOINT,
    ) -> EngineSession:
        """A live stream of samples at ``sample_rate`` Hz (the model's own unless given).

        ``search`` are hotwords or an n-gram of its own, as keys of a SearchConfig (``{"hotwords": ["new york"]}``); all else it
        has from the recogniser. It takes ``seconds`` and ``bytes`` of samples, as they are given, at most, and ends by itself
        when none came for ``idle_seconds``: its slot is then free, and ``finish`` gives its words. ``segments_only`` and
        ``endpoint`` as in ``Session``. Raises UserError when all slots are in use; with ``wait`` it waits for one instead.
        Raises UserError for a ``search`` that does not fit, and when closed.
        """
        rate = self.recognizer.sample_rate if sample_rate is None else sample_rate
        session = EngineSession(self, rate, search, segments_only, seconds, bytes, idle_seconds, endpoint)
        with self._done:
            self._must_run()
            while len(self._sessions) >= self.slots:
                if not wait:
                    raise UserError(
                        f"engine: all {self.slots} slots are in use; finish a session, or make an Engine with more slots"
                    )
                self._done.wait()
                self._must_run()
            self._sessions.append(session)
            self._idle_at = min(self._idle_at, session._idle_at)
            self._work.notify()  # it may be the next to be idle
        return session

    def close(self) -> None:
        """Finish all sessions: their ``partial`` and ``finish`` then give the result. New sessions and samples are refused."""
        with self._done:
            self.closed = True
            sessions = list(self._sessions)
            self._done.notify_all()
        for session in sessions:
            session._end_by_engine("the engine was closed")
        with self._work:
            self._work.notify()
        self._worker.join()

    @property
    def revises(self) -> bool:
        """Whether words that are shown may still change (a beam); then ``partial`` and ``news`` wait for the device."""
        return self._runner.revises

    @property
    def failure(self) -> BaseException | None:
        """The error that has stopped the engine, of which every session is told."""
        return self._failure

    def stats(self) -> EngineStats:
        """How busy the engine is and how soon words come, since it was made."""
        with self._device, self._work:
            return self._meter.stats(len(self._sessions), self.slots, self._runner.state_bytes)

    # What sessions call, in the threads of their clients

    def _admit(self, session: EngineSession, count: int, block: bool) -> None:
        """Refuse samples at the session's rate that cannot be taken."""
        with self._done:
            self._must_run()
            if block:
                return
            size, waiting = -(-count * self.recognizer.sample_rate // session.sample_rate), session._size
            if waiting + size > self._room:
                raise UserError(
                    f"stream: {size} samples do not fit in the queue of {self._room}, of which {waiting} wait; send them later, "
                    "or smaller pieces"
                )

    def _take(self, session: EngineSession, samples: np.ndarray) -> None:
        """Samples at the session's rate."""
        with self._done:
            while len(samples):
                self._must_not_have_failed()
                if (room := self._room - session._size) <= 0:
                    self._done.wait()
                    continue
                count = max(1, room * session.sample_rate // self.recognizer.sample_rate)
                session._taken.append(samples[:count])
                self._arrived(session)
                samples = samples[count:]

    def _feed(self, session: EngineSession, samples: np.ndarray) -> None:
        """Samples at the model's rate."""
        with self._done:
            while len(samples):
                self._must_not_have_failed()
                room = max(self._room - session._queue.size, 0)
                if not room:
                    self._done.wait()
                    continue
                self._push(session, samples[:room])
                samples = samples[room:]

    def _push(self, session: EngineSession, samples: np.ndarray) -> None:
        session._queue.push(samples)
        self._arrived(session)

    def _arrived(self, session: EngineSession) -> None:
        period = self._runner.period
        if (more := session._size - session._needed) >= 0:
            end = session._fed + session._needed + more // period * period
            if not session._marks or session._marks[-1][0] < end:
                session._marks.append((end, time.perf_counter()))
            self._ready[session] = None
            self._work.notify()

    def _look(self, session: EngineSession) -> Hypothesis:
        self._must_not_have_failed()
        if not self._runner.revises:
            session._drain()
            return Hypothesis()
        with self._device:
            session._drain()
            return Hypothesis() if session._slot is None else self._runner.partial(session._slot)

    def _ask(self, session: EngineSession, request: str) -> None:
        """Have the worker do it once the session has no whole period waiting."""
        with self._done:
            self._must_not_have_failed()
            self._note(session, request)
            self._work.notify()

    def _note(self, session: EngineSession, request: str) -> None:
        session._request = request
        self._asking[session] = None

    def _cancel(self, session: EngineSession) -> None:
        """Have the worker drop it."""
        with self._work:
            session._cancelled = True
            self._cancelled.append(session)
            self._work.notify()

    def _answer(self, session: EngineSession) -> None:
        """Wait until the worker has done it."""
        with self._done:
            while session._request is not None:
                self._must_not_have_failed()
                self._done.wait()

    def _must_run(self) -> None:
        self._must_not_have_failed()
        if self.closed:
            raise UserError("engine: is closed and takes no sessions and no samples; make another Engine")

    def _must_not_have_failed(self) -> None:
        if self._failure is not None:
            raise UserError(f"engine: stopped by an error: {self._failure!r}; make another Engine") from self._failure

    # The worker

    def _run(self) -> None:
        try:
            while self._tick():
                pass
        except BaseException as error:
            with self._done:
                self._failure = error
                self._done.notify_all()
            for session in self._sessions:
                session._wake()
            raise

    def _tick(self) -> bool:
        """Wait for work and do one batch of each sort; false when there will be no more."""
        runner = self._runner
        with self._work:
            while True:
                self._drop_cancelled()
                self._end_idle()
                step = [session for session in self._ready if session._slot is not None]
                begin = [session for session in self._ready if session._slot is None]
                # They have less samples waiting than a feed.
                asks = [session for session in self._asking if session not in self._ready]
                if begin or step or asks:
                    pause = self._pause(begin + step, asks)
                    if not pause:
                        break
                elif self.closed and not self._sessions:
                    return False
                else:
                    pause = self._until_idle()
                self._work.wait(pause)
            for session in begin + step:
                session._prepare()
            first = [self._pop(session, session._needed) for session in begin]
            batches: dict[int, list[tuple[EngineSession, np.ndarray]]] = {}  # by samples of each row
            for session in step:
                periods = min(session._queue.size // runner.period, self._longest)
                # A power of two, so that batches have few shapes.
                size = runner.period * 2 ** (periods.bit_length() - 1)
                batches.setdefault(size, []).append((session, self._pop(session, size)))
            ends = [s for s in asks if s._request in ("finish", "end")]
            rests = [self._pop(session, session._queue.size) for session in ends]
            self._done.notify_all()
        with self._device:
            start = time.perf_counter()
            if begin:
                rows = [session._endpointer for session in begin]
                slots, parts = runner.begin(np.stack(first), rows, [session._own for session in begin])
                for session, slot, more in zip(begin, slots, parts, strict=True):
                    session._slot = slot
                    session._inbox.extend(more)
            for batch in batches.values():
                held = [session._slot for session, _ in batch if session._slot is not None]
                pieces = np.stack([piece for _, piece in batch])
                parts = runner.step(held, pieces, [session._endpointer for session, _ in batch])
                for (session, _), more in zip(batch, parts, strict=True):
                    session._inbox.extend(more)
            for session in asks:
                if session._request == "commit" and session._slot is not None:
                    session._inbox.extend(runner.commit(session._slot, session._endpointer))
            endings = self._finish(ends, rests)
            now = time.perf_counter()
            samples = sum(map(len, first + rests)) + sum(size * len(batch) for size, batch in batches.items())
            self._meter.tick(now - start, samples / self.recognizer.sample_rate, len(step))
            with self._done:
                for session in begin + step:
                    while session._marks and session._marks[0][0] <= session._fed:
                        self._meter.latency(now - session._marks.popleft()[1])
                for session, ending in endings:
                    session._slot, session._ending = None, ending
                    session._needed, session._fed = runner.first_feed, 0
                    session._marks.clear()
                    if session._request == "end":
                        self._sessions.remove(session)
                for session in asks:
                    session._request = None
                    self._asking.pop(session, None)
                self._done.notify_all()
        for session in begin + step + asks:
            session._wake()
        return True

    def _finish(self, ends: list[EngineSession], rests: list[np.ndarray]) -> list[tuple[EngineSession, Ending]]:
        """End these sessions with the samples left."""
        if not ends:
            return []
        rows = [session._endpointer for session in ends]
        slots, own = [session._slot for session in ends], [session._own for session in ends]
        parts, endings = self._runner.finish(slots, rests, rows, own)
        for session, more in zip(ends, parts, strict=True):
            session._inbox.extend(more)
        return list(zip(ends, endings, strict=True))

    def _drop_cancelled(self) -> None:
        while self._cancelled:
            session = self._cancelled.pop()
            self._ready.pop(session, None)
            self._asking.pop(session, None)
            if session in self._sessions:
                self._sessions.remove(session)
                if session._slot is not None:
                    self._runner.free(session._slot)
            self._done.notify_all()

    def _pause(self, ready: list[EngineSession], asks: list[EngineSession]) -> float | None:
        """Seconds that a batch may still wait for others; 0 where all are ready, or somebody asks."""
        if not self.wait_ms or asks or self.closed or len(ready) == len(self._sessions):
            return 0.0
        oldest = min((s._marks[0][1] for s in ready if s._marks), default=0.0)
        return max(0.0, oldest + self.wait_ms / 1000 - time.perf_counter())

    def _end_idle(self) -> None:
        """End the sessions that got no samples for too long."""
        now = time.monotonic()
        if now < self._idle_at:
            return
        for session in self._sessions:
            if session._request is None and session._idle_at <= now:
                session._end_idle()
        self._idle_at = min((s._idle_at for s in self._sessions if s._request != "end"), default=float("inf"))

    def _until_idle(self) -> float | None:
        """Seconds until the next session may be idle; None: never."""
        return None if self._idle_at == float("inf") else max(0.001, self._idle_at - time.monotonic())

    def _pop(self, session: EngineSession, count: int) -> np.ndarray:
        session._needed = self._runner.period
        session._fed += count
        samples = session._queue.pop(count)
        if session._queue.size < session._needed:
            self._ready.pop(session, None)
        return samples
