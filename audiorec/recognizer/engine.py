"""``Engine``: many live streams over one runner. One thread steps all that have samples waiting, in one batch."""

import time
from collections import deque
from threading import Condition, Lock, Thread
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from audiorec.errors import UserError
from audiorec.recognizer.inputs import Samples, to_array
from audiorec.recognizer.result import Result, Segment
from audiorec.recognizer.runner import Runner
from audiorec.recognizer.session import Queue, Session
from audiorec.recognizer.stats import EngineStats, Meter
from audiorec.search import Decoded, Hypothesis

if TYPE_CHECKING:
    from audiorec.recognizer.recognizer import Recognizer

TICK_SECONDS = 1.0  # of audio that a stream is stepped by at most, so that one that floods delays nobody for long


class EngineSession(Session):
    """Made by ``Engine.session``. Its words are computed by the engine, soon after ``accept``."""

    def __init__(self, engine: "Engine", sample_rate: int, seconds: float):
        super().__init__(engine.recognizer, sample_rate)
        self._engine = engine
        self._samples_left = seconds * sample_rate
        # The engine's, under its lock:
        self._queue = Queue()
        self._needed = engine.recognizer.model.first_feed
        self._fed = 0
        self._marks: deque[tuple[int, float]] = deque()  # of samples that complete a period: their end, when they came
        self._ended = self._cancelled = False
        self._decoded: Decoded | None = None
        # The worker's, under the device's lock:
        self._slot: int | None = None
        self._committed = Hypothesis()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            super().__exit__(kind, error, trace)
        else:
            self.cancel()

    def accept(self, samples: Samples, block: bool = True) -> list[Segment]:
        """As ``Session.accept``. It waits while the queue is full; with ``block`` False that is a UserError.

        Raises UserError, too, past the session's limit of seconds and when the engine is closed. Samples that are refused are
        not taken, and the stream may go on.
        """
        with self._alone("accept samples"):
            self._must_be_open("accept samples")
            samples = to_array(samples, "stream")
            self._engine._admit(self, len(samples), block)
            self._samples_left -= len(samples)
            self._take(self._resampler.push(samples))
        return []

    def finish(self) -> Result:
        """As ``Session.finish``. Of a session that ``Engine.close`` has finished: its result."""
        with self._alone("finish"):
            if self._finished and self._result is not None and self._engine.closed:
                return self._result
            self._must_be_open("finish")
            return self._end()

    def cancel(self) -> None:
        """End the stream without a result; its slot is free at the next border of periods."""
        with self._alone("cancel"):
            self._finished = True
            self._engine._cancel(self)

    def _feed(self, samples: np.ndarray) -> None:
        self._engine._feed(self, samples)

    def _best(self) -> tuple[Hypothesis, float]:
        return self._engine._best(self)

    def _conclude(self) -> Decoded:
        return self._engine._conclude(self)


class Engine:
    """Up to ``slots`` sessions at once over one recogniser; any thread may open and use sessions.

    At a border of periods all sessions that have whole periods waiting are stepped as one batch, without padding; those that
    begin are fed their first samples in a batch of their own. ``queue_seconds`` of audio may wait in each session.
    ``close`` it at the end, or use it as a context manager.
    """

    def __init__(self, recognizer: "Recognizer", slots: int = 64, queue_seconds: float = 10.0):
        if slots < 1:
            raise UserError(f"engine: slots must be 1 or more, got {slots}")
        if not queue_seconds > 0:
            raise UserError(f"engine: queue_seconds must be positive, got {queue_seconds}")
        if not recognizer.model.streams:
            raise UserError("engine: this model sees whole utterances and cannot stream; choose a latency")
        self.recognizer = recognizer
        self.slots = slots
        self.queue_seconds = queue_seconds
        model = recognizer.model
        self.closed = False
        self._runner = Runner(model, recognizer.search(), slots, recognizer.device)
        self._period = model.period
        self._longest = max(1, int(TICK_SECONDS * model.sample_rate) // self._period)  # periods in a tick
        # A whole feed must find room, or nobody would move.
        self._room = max(int(queue_seconds * model.sample_rate), model.first_feed, self._period)
        self._sessions: list[EngineSession] = []
        self._meter = Meter()
        self._failure: BaseException | None = None
        self._device = Lock()  # around the runner and the tokens that are committed
        lock = Lock()  # around everything else
        self._work = Condition(lock)  # the worker waits for samples
        self._done = Condition(lock)  # sessions wait for room, slots and results
        self._worker = Thread(target=self._run, name="audiorec-engine", daemon=True)
        self._worker.start()

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def session(
        self, sample_rate: int | None = None, seconds: float = float("inf"), wait: bool = False
    ) -> EngineSession:
        """A live stream of samples at ``sample_rate`` Hz (the model's own unless given), of ``seconds`` at most.

        Raises UserError when all slots are in use; with ``wait`` it waits for one instead. Raises UserError when closed.
        """
        session = EngineSession(self, self.recognizer.sample_rate if sample_rate is None else sample_rate, seconds)
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
        return session

    def close(self) -> None:
        """Finish all sessions: their ``partial`` and ``finish`` then give the result. New sessions and samples are refused."""
        with self._done:
            self.closed = True
            sessions = list(self._sessions)
            self._done.notify_all()
        for session in sessions:
            with session._in_use:  # after the call that is under way in another thread
                if not session._finished and self._failure is None:
                    session._end()
        with self._work:
            self._work.notify()
        self._worker.join()

    def stats(self) -> EngineStats:
        """How busy the engine is and how soon words come, since it was made."""
        with self._device, self._work:
            return self._meter.stats(len(self._sessions), self.slots, self._runner.state_bytes)

    # What sessions call, in the threads of their clients

    def _admit(self, session: EngineSession, count: int, block: bool) -> None:
        """Refuse samples at the session's rate that cannot be taken."""
        with self._done:
            self._must_run()
            if count > session._samples_left:
                raise UserError("stream: longer than the seconds that its session was opened for; finish it")
            size = -(-count * self.recognizer.sample_rate // session.sample_rate)
            if not block and session._queue.size + size > self._room:
                raise UserError(
                    f"stream: {size} samples do not fit in the queue of {self._room}, of which {session._queue.size} wait; "
                    "send them later, or smaller pieces"
                )

    def _feed(self, session: EngineSession, samples: np.ndarray) -> None:
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
        if (more := session._queue.size - session._needed) >= 0:
            end = session._fed + session._needed + more // self._period * self._period
            if not session._marks or session._marks[-1][0] < end:
                session._marks.append((end, time.perf_counter()))
            self._work.notify()

    def _best(self, session: EngineSession) -> tuple[Hypothesis, float]:
        with self._device:
            self._must_not_have_failed()
            if session._cancelled:
                raise UserError("stream: was cancelled and has no words")
            if session._slot is None:
                return Hypothesis(), float("inf")
            tokens, margin = self._runner.partial(session._slot)
            return session._committed + tokens, margin

    def _conclude(self, session: EngineSession) -> Decoded:
        with self._done:
            session._ended = True
            self._work.notify()
            while session._decoded is None:
                self._must_not_have_failed()
                self._done.wait()
            return session._decoded

    def _cancel(self, session: EngineSession) -> None:
        with self._work:
            session._cancelled = True
            self._work.notify()

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
            raise

    def _tick(self) -> bool:
        """Wait for work and do one batch of each sort; false when there will be no more."""
        with self._work:
            while True:
                self._drop_cancelled()
                begin, step, end = self._ready(began=False), self._ready(began=True), self._ends()
                if begin or step or end:
                    break
                if self.closed and not self._sessions:
                    return False
                self._work.wait()
            periods = min((session._queue.size // self._period for session in step), default=1)
            # A power of two, so that batches have few shapes.
            size = self._period * 2 ** (min(periods, self._longest).bit_length() - 1)
            first = [self._pop(session, session._needed) for session in begin]
            pieces = [self._pop(session, size) for session in step]
            rests = [self._pop(session, session._queue.size) for session in end]
            self._done.notify_all()
        with self._device:
            start = time.perf_counter()
            if begin:
                slots, tokens = self._runner.begin(np.stack(first))
                for session, slot, more in zip(begin, slots, tokens, strict=True):
                    session._slot = slot
                    session._committed.extend(more)
            if step:
                tokens = self._runner.step(
                    [session._slot for session in step if session._slot is not None], np.stack(pieces)
                )
                for session, more in zip(step, tokens, strict=True):
                    session._committed.extend(more)
            decoded = [
                self._runner.finish(session._slot, rest, session._committed)
                for session, rest in zip(end, rests, strict=True)
            ]
            now = time.perf_counter()
            meter = self._meter
            meter.busy_seconds += now - start
            meter.audio_seconds += sum(map(len, first + pieces + rests)) / self.recognizer.sample_rate
            meter.steps += bool(step)
            meter.rows += len(step)
            with self._done:
                for session in begin + step:
                    while session._marks and session._marks[0][0] <= session._fed:
                        meter.latencies.append(now - session._marks.popleft()[1])
                for session, result in zip(end, decoded, strict=True):
                    session._slot, session._decoded = None, result
                    self._sessions.remove(session)
                self._done.notify_all()
        return True

    def _drop_cancelled(self) -> None:
        for session in [s for s in self._sessions if s._cancelled]:
            self._sessions.remove(session)
            if session._slot is not None:
                self._runner.free(session._slot)
            self._done.notify_all()

    def _ready(self, began: bool) -> list[EngineSession]:
        """Sessions that have begun, or have not, and have enough samples for it."""
        return [s for s in self._sessions if (s._slot is not None) == began and s._queue.size >= s._needed]

    def _ends(self) -> list[EngineSession]:
        """Sessions whose last samples are less than a feed."""
        return [s for s in self._sessions if s._ended and s._queue.size < s._needed]

    def _pop(self, session: EngineSession, count: int) -> np.ndarray:
        session._needed = self._period
        session._fed += count
        return session._queue.pop(count)
