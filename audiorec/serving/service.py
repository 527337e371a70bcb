"""``Service``: the models that a server has, what it allows, what it counts, and the clients that are there."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from audiorec.live import Engine
from audiorec.live.recognizer import LiveRecognizer
from audiorec.serving.log import Log
from audiorec.serving.metrics import Metrics
from audiorec.serving.refusal import Refused
from audiorec.serving.settings import Access, Limits

WATCH_SECONDS = 0.25


class Client:
    """One that is connected: the server may ask it to stop, which it notices where it waits for a message."""

    def __init__(self) -> None:
        self.waiting: float | None = None  # since when for a message of it
        self.sending: float | None = None  # since when it has been reading what it was sent
        self.task = asyncio.current_task()
        self._stop: Exception | None = None

    def stop(self, why: Exception) -> None:
        """``why`` is raised where the client waits for its next message, now or later."""
        if self._stop is None:
            self._stop = why
            if self.waiting is not None and self.task is not None:
                self.task.cancel()

    async def next(self, message: Any) -> Any:
        """Await a message of the client, unless it is to stop."""
        if self._stop is not None:
            message.close()
            raise self._stop
        self.waiting, self.task = time.monotonic(), asyncio.current_task()
        try:
            return await message
        except asyncio.CancelledError:
            if self._stop is None:
                raise
            if hasattr(self.task, "uncancel"):
                self.task.uncancel()
            raise self._stop from None
        finally:
            self.waiting = None


class Served:
    """A model by its name, with an engine of its own."""

    def __init__(self, name: str, base: str, recognizer: LiveRecognizer, slots: int, wait_ms: float):
        self.name, self.base = name, base  # several latencies of one model have one base
        self.engine = Engine(recognizer, slots, wait_ms=wait_ms)
        self.sample_rate = recognizer.sample_rate
        self.latency_ms = recognizer.latency_ms
        self.streams = 0
        self.created = int(time.time())


class Service:
    """``recognizers`` by their names; the first is taken where a client names none. ``languages``: what all of them hear."""

    def __init__(
        self,
        recognizers: Mapping[str, LiveRecognizer],
        limits: Limits,
        access: Access,
        log: Log,
        wait_ms: float = 0.0,
        languages: Sequence[str] = ("en",),
    ):
        self.limits, self.access, self.log = limits, access, log
        self.languages = languages
        self.models = {
            name: Served(name, _base(name, recognizers), recognizer, limits.sessions, wait_ms)
            for name, recognizer in recognizers.items()
        }
        self.default = next(iter(self.models.values()))
        self.metrics = Metrics(lambda: [(name, served.engine) for name, served in self.models.items()])
        self.clients: set[Client] = set()
        self.draining = False
        self._tasks: set[asyncio.Task[None]] = set()

    def find(self, name: str | None) -> Served:
        """A model by its name, the first for None. Raises Refused."""
        if not name:
            return self.default
        if name not in self.models:
            raise Refused("unknown_model", f"there is no model {name!r}: choose from {', '.join(self.models)}")
        return self.models[name]

    def take_slot(self, served: Served) -> None:
        """Count one more stream. Raises Refused where there is no room."""
        self.must_run()
        if served.streams >= self.limits.sessions:
            raise Refused("busy", f"all {self.limits.sessions} streams of {served.name} are taken; try again later")
        served.streams += 1

    def must_run(self) -> None:
        """Raises Refused when the server is about to stop."""
        if self.draining:
            raise Refused("shutting_down", "the server is shutting down; connect again")

    def count(self, refused: Refused, **facts: Any) -> None:
        """A refusal, in the metrics and the log."""
        self.metrics.refusals.labels(refused.reason).inc()
        self.log("refused", reason=refused.reason, text=str(refused), **facts)

    def keep(self, task: "asyncio.Task[None]") -> None:
        """Let a task run to its end."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def watch(self) -> None:
        """Stop clients that say nothing, and drop those that do not read."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            now, limits = time.monotonic(), self.limits
            for client in list(self.clients):
                if client.sending is not None and now - client.sending > limits.send_seconds:
                    if client.task is not None:
                        client.task.cancel()
                elif client.waiting is not None and now - client.waiting > limits.idle_seconds:
                    client.stop(Refused("idle", f"nothing came for {limits.idle_seconds:g} s; connect again"))

    async def drain(self, seconds: float) -> None:
        """Have every client finish: its words so far and a clear end. Those who have not read them in ``seconds`` are left."""
        self.draining = True
        end = time.monotonic() + seconds
        for client in list(self.clients):
            client.stop(Refused("shutting_down", "the server is shutting down; connect again"))
        while self.clients and time.monotonic() < end:
            await asyncio.sleep(0.02)
        for client in list(self.clients):
            if client.task is not None:
                client.task.cancel()

    def close(self) -> None:
        """Stop the engines."""
        for served in self.models.values():
            served.engine.close()


def _base(name: str, names: Mapping[str, LiveRecognizer]) -> str:
    """``NAME`` of ``NAME@480``, which is the same model at another latency."""
    base = name.rpartition("@")[0]
    return base if base in names else name
