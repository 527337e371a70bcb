"""``SpeechStream``: one client's audio, from bytes to words. Every protocol stands on it; it stands on an EngineSession."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

from audiorec.audio.file import RATES
from audiorec.errors import ConfigError, UserError
from audiorec.live import Boundary, EngineSession, News
from audiorec.serving.encodings import Decoder
from audiorec.serving.refusal import Refused
from audiorec.transcript import ENDPOINT, EndpointConfig, Segment

if TYPE_CHECKING:
    from audiorec.serving.service import Served, Service

T = TypeVar("T")
BURST_SECONDS = 10.0  # of the allowed rate that a client may send at once
MAX_PHRASES, MAX_PHRASE = 1000, 200  # hotwords of a session, and characters of one


class SpeechStream:
    """Made by ``open``; ``close`` it in any case. All calls are of one event loop.

    ``push`` bytes, wait until ``changed``, ``take`` what is new; ``flush`` and ``finish`` as of a stream.
    """

    def __init__(self, service: "Service", served: "Served", sample_rate: int, encoding: str, session: EngineSession):
        self.service, self.served = service, served
        self.sample_rate = sample_rate
        self._samples = 0  # that were taken
        self.changed = asyncio.Event()
        self._session = session
        self._decode = Decoder(encoding)
        self._ended: list[Segment] = []  # that no ``take`` has returned yet
        self._turn = asyncio.Lock()
        self._job: asyncio.Future[Any] | None = None  # a call in another thread
        self._finished = self._closed = False
        self._pace = 0.0  # when what came would have come at the allowed rate
        loop = asyncio.get_running_loop()
        session.watch(lambda: loop.call_soon_threadsafe(self.changed.set))

    @classmethod
    async def open(
        cls,
        service: "Service",
        model: str | None,
        protocol: str,
        sample_rate: int | None = None,
        encoding: str = "int16",
        hotwords: Sequence[str] = (),
        hotwords_score: float | None = None,
        must_use: bool = False,
        silence: float | None = None,
    ) -> "SpeechStream":
        """``sample_rate`` None: the model's own. ``hotwords`` help where the model has a beam; ``must_use``: else they are an
        error. ``silence``: seconds of it that end a segment with words; None: as the server has it, infinite: no segment
        ends. Raises Refused: what is asked does not fit, or all streams are taken."""
        served = service.find(model)
        rate = served.sample_rate if sample_rate is None else sample_rate
        if not RATES[0] <= rate <= RATES[1]:
            raise Refused("bad_request", f"sample_rate: {rate} is not from {RATES[0]} to {RATES[1]} Hz")
        Decoder(encoding)  # is it known?
        search, endpoint = _search(hotwords, hotwords_score), _endpoint(served, silence)
        service.take_slot(served)
        try:
            try:
                session = await _open(served, rate, search, service.limits.seconds, endpoint)
            except UserError:
                if must_use or not search:
                    raise
                fitting = await asyncio.to_thread(_fitting, served, hotwords)
                service.log("hotwords_unused", model=served.name, count=len(hotwords) - len(fitting))
                session = await _open(served, rate, _search(fitting, None), service.limits.seconds, endpoint)
        except UserError as error:
            served.streams -= 1
            raise Refused("bad_request", str(error)) from None
        except BaseException:
            served.streams -= 1
            raise
        service.metrics.sessions.labels(served.name, protocol).inc()
        return cls(service, served, rate, encoding, session)

    @property
    def seconds(self) -> float:
        """Of audio that was taken."""
        return self._samples / self.sample_rate

    async def push(self, data: bytes) -> None:
        """Take the next bytes, any number. Waits while too much of this client waits. Raises Refused for what is no audio."""
        samples = self._decode(data)
        for start in range(0, len(samples), self.sample_rate):
            piece = samples[start : start + self.sample_rate]
            seconds = len(piece) / self.sample_rate
            if self.seconds + seconds > self.service.limits.seconds:
                raise Refused(
                    "too_long", f"a session may have {self.service.limits.seconds:g} s of audio; open another"
                )
            async with self._turn:
                try:
                    try:
                        self._ended += self._session.accept(piece, block=False)
                    except UserError:  # its queue is full, or the audio is bad, which the second call says again
                        self._ended += await self._in_thread(self._session.accept, piece)
                except UserError as error:
                    raise self._refused(error) from None
            self._samples += len(piece)
            await self._slow_down(len(piece) * self._decode.type.itemsize)
            self.service.metrics.audio.labels(self.served.name).inc(seconds)
        if self._ended:
            self.changed.set()

    async def wait(self) -> None:
        """Until the words of all that was pushed are there, look-ahead aside."""
        async with self._turn:
            await self._try(self._session.wait)

    async def flush(self, boundary: Boundary) -> None:
        """As ``Session.flush``; ``take`` has the segments."""
        async with self._turn:
            start = time.perf_counter()
            self._ended += await self._try(self._session.flush, boundary)
            self.service.metrics.finalise.labels(self.served.name).observe(time.perf_counter() - start)

    async def finish(self) -> None:
        """No more audio comes; ``take`` then has the last segments."""
        async with self._turn:
            if not self._finished:
                start = time.perf_counter()
                await self._try(self._session.finish)
                self._finished = True
                self.service.metrics.finalise.labels(self.served.name).observe(time.perf_counter() - start)

    async def take(self) -> News:
        """What is new since the last call."""
        async with self._turn:
            self.changed.clear()
            if self.served.engine.revises and not self._finished:
                news = await self._try(self._session.news)
            else:
                try:
                    news = self._session.news()
                except UserError as error:
                    raise self._refused(error) from None
            ended, self._ended = [*self._ended, *news.ended], []
            return news._replace(ended=ended)

    def close(self) -> None:
        """Give the slot back, whatever was said; soon, in a task of its own, which nobody cancels."""
        if not self._closed:
            self._closed = True
            self.service.keep(asyncio.create_task(self._close()))

    async def _close(self) -> None:
        if self._job is not None and not self._job.done():
            await asyncio.wait([self._job])
        if not self._finished:
            with suppress(UserError):
                self._session.cancel()
        self.served.streams -= 1

    async def _slow_down(self, size: int) -> None:
        rate = self.service.limits.bytes_per_second
        if rate is None:
            return
        now = time.monotonic()
        self._pace = max(self._pace, now - BURST_SECONDS) + size / rate
        while self._pace > now and not self.service.draining:
            await asyncio.sleep(min(self._pace - now, 0.5))
            now = time.monotonic()

    async def _try(self, call: Callable[..., T], *arguments: Any) -> T:
        try:
            return await self._in_thread(call, *arguments)
        except UserError as error:
            raise self._refused(error) from None

    async def _in_thread(self, call: Callable[..., T], *arguments: Any) -> T:
        """Whoever waits may be cancelled, the call goes on; ``close`` waits for it."""
        self._job = job = asyncio.ensure_future(asyncio.to_thread(call, *arguments))
        return await asyncio.shield(job)

    def _refused(self, error: UserError) -> Refused:
        return Refused("failed" if str(error).startswith("engine:") else "bad_audio", str(error))


async def _open(
    served: "Served", rate: int, search: dict[str, Any] | None, seconds: float, endpoint: EndpointConfig | None
) -> EngineSession:
    # There is room, for the service counts; but the engine may not have noticed yet that a client has left, so it waits.
    # Hotwords become automata here, which takes a while: not in the event loop.
    return await asyncio.to_thread(
        served.engine.session, rate, search, seconds=seconds + 1, segments_only=True, wait=True, endpoint=endpoint
    )


def _endpoint(served: "Served", silence: float | None) -> EndpointConfig | None:
    rules = served.engine.recognizer.endpoint
    if silence is None or rules is None:
        return ENDPOINT
    if silence == inf:
        return None
    return rules.model_copy(update={"silence_after_words": silence})


def _fitting(served: "Served", phrases: Sequence[str]) -> list[str]:
    """Those that the model can say; none where it has no beam."""
    found = []
    for phrase in phrases:
        try:
            served.engine.recognizer.own_automata({"hotwords": [phrase]})
        except ConfigError:
            return []
        except UserError:
            continue
        found.append(phrase)
    return found


def _search(hotwords: Sequence[str], score: float | None) -> dict[str, Any] | None:
    """Keys of a session's search. A string would be the name of a file there, so only lists of phrases may pass."""
    if not hotwords:
        if score is not None:
            raise Refused("bad_request", "hotwords_score: has no effect without hotwords")
        return None
    if isinstance(hotwords, str) or not all(isinstance(phrase, str) for phrase in hotwords):
        raise Refused("bad_request", "hotwords: give a list of phrases")
    if len(hotwords) > MAX_PHRASES or max(map(len, hotwords)) > MAX_PHRASE:
        raise Refused("bad_request", f"hotwords: at most {MAX_PHRASES} phrases of {MAX_PHRASE} characters")
    search: dict[str, Any] = {"hotwords": list(hotwords)}
    return search if score is None else {**search, "hotwords_score": score}
