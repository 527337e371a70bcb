"""``Talk``: what all WebSocket protocols share. One client, from its handshake to its end, whatever happens between."""

import asyncio
import json
import time
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal
from uuid import uuid4

from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from audiorec.live import Boundary, News
from audiorec.serving.access import must_be_allowed
from audiorec.serving.refusal import WITH_WORDS, Gone, Refused
from audiorec.serving.service import Client, Service
from audiorec.serving.speech import SpeechStream


class Talk(ABC):
    """A protocol is a subclass. It answers each message in ``handle`` and sends what is new in ``tell``."""

    protocol: ClassVar[str]

    def __init__(self, service: Service, websocket: WebSocket):
        self.service, self.websocket = service, websocket
        self.query = websocket.query_params
        self.client = Client()
        self.id = uuid4().hex
        self.stream: SpeechStream | None = None
        self.words = 0  # that were sent as final
        self.boundary: Boundary | Literal["end"] | None = None  # at which the news are told
        self._telling = asyncio.Lock()  # so that events go out in order
        self._reporter: asyncio.Task[None] | None = None

    # What a protocol says

    async def prepare(self) -> None:  # noqa: B027 (optional)
        """Before the handshake is answered. What is refused here the client gets as an HTTP status."""

    async def begin(self) -> None:  # noqa: B027 (optional)
        """After the handshake."""

    @abstractmethod
    async def handle(self, message: str | bytes) -> bool:
        """Answer a message; true where the conversation ends by it."""

    @abstractmethod
    async def tell(self, news: News) -> None:
        """Send what is new, ``boundary`` says at what occasion."""

    async def conclude(self) -> None:  # noqa: B027 (optional)
        """The last words were sent; what comes after them."""

    async def complain(self, refused: Refused) -> None:  # noqa: B027 (optional)
        """The protocol's form of an error. The connection is closed after it."""

    # What a protocol does

    async def open(self, **options: Any) -> SpeechStream:
        """The client's stream, whose news are told as they come, unless the protocol is in lock-step."""
        self.stream = await SpeechStream.open(self.service, protocol=self.protocol, **options)
        return self.stream

    def report_as_it_comes(self) -> None:
        """From now on tell what is new whenever it is."""
        self._reporter = asyncio.create_task(self._report_as_it_comes())

    async def report(self, boundary: Boundary | Literal["end"] | None = None) -> None:
        """Tell what is new now, or at this boundary, at which the stream is flushed or ended first."""
        async with self._telling:
            if self.stream is not None:
                if boundary == "end":
                    await self.stream.finish()
                elif boundary:
                    await self.stream.flush(boundary)
                self.boundary = boundary
                news = await self.stream.take()
                self.words += sum(len(segment.words) for segment in news.ended)
                if self.service.log.words:
                    for segment in news.ended:
                        self.service.log("words", id=self.id, text=segment.text)
                await self.tell(news)

    async def last_words(self) -> None:
        """The words of all that came."""
        await self._stop_reporter()
        if self.stream is not None:
            await self.report("end")

    async def finish(self) -> None:
        """The words of all that came, then what tells the client that these are all that it asked for."""
        await self.last_words()
        await self.conclude()

    async def send(self, message: dict[str, Any] | str) -> None:
        """A JSON object, or a text as it is. Raises Gone."""
        text = message if isinstance(message, str) else json.dumps(message, ensure_ascii=False)
        self.client.sending = time.monotonic()
        try:
            await self.websocket.send_text(text)
        except (WebSocketDisconnect, RuntimeError, OSError):
            raise Gone from None
        finally:
            self.client.sending = None

    # The frame around it

    async def run(self) -> None:
        """All of it. Raises nothing but what ends the server."""
        self.service.clients.add(self.client)
        start, end = time.monotonic(), "finished"
        try:
            await self._run()
        except Gone:
            end = "left"
        except Refused as refused:
            end = refused.reason
            self.service.count(refused, id=self.id, protocol=self.protocol)
            await self._refuse(refused)
        except asyncio.CancelledError:
            end = "dropped"
        except Exception as error:
            end = "failed"
            self.service.log.error(error, id=self.id, protocol=self.protocol)
            await self._refuse(Refused("failed", "the server made a mistake; its log says more"))
        finally:
            self.service.clients.discard(self.client)
            await self._stop_reporter()
            stream = self.stream
            if stream is not None:
                stream.close()
            self.service.log(
                "session",
                id=self.id,
                protocol=self.protocol,
                end=end,
                wall_seconds=round(time.monotonic() - start, 3),
                **({} if stream is None else {"model": stream.served.name, "audio_seconds": round(stream.seconds, 3)}),
                words=self.words,
            )

    async def _run(self) -> None:
        self.service.must_run()
        subprotocol = must_be_allowed(self.websocket, self.service.access)
        await self.prepare()
        await self.websocket.accept(subprotocol)
        await self.begin()
        while not await self.handle(await self._receive()):
            pass
        await self._close(1000, "")

    async def _receive(self) -> str | bytes:
        message = await self.client.next(self.websocket.receive())
        if message["type"] == "websocket.disconnect":
            raise Gone
        text = message.get("text")
        return message["bytes"] if text is None else text

    async def _refuse(self, refused: Refused) -> None:
        """Tell the client why, in the protocol's form, and close."""
        try:
            if self.websocket.application_state is WebSocketState.CONNECTING:
                await self.websocket.send_denial_response(self.denial(refused))
                return
            if refused.reason in WITH_WORDS:
                await self.last_words()
            else:
                await self._stop_reporter()
            await self.complain(refused)
            await self._close(refused.close_code, str(refused))
        except (Gone, Refused, WebSocketDisconnect, RuntimeError):
            pass  # it has left, or the engine has failed

    def denial(self, refused: Refused) -> Response:
        """Of a handshake that is refused."""
        headers = {"Retry-After": "5"} if refused.status == 503 else None
        body = {"error": {"code": refused.reason, "message": str(refused)}}
        return JSONResponse(body, refused.status, headers)

    async def _close(self, code: int, reason: str) -> None:
        reason = reason.encode()[:120].decode(errors="ignore")  # a close frame has room for no more
        try:
            await self.websocket.close(code, reason)
        except RuntimeError:
            raise Gone from None

    async def _report_as_it_comes(self) -> None:
        assert self.stream is not None
        try:
            while True:
                await self.stream.changed.wait()
                await self.report()
        except Exception as error:
            self.client.stop(error)

    async def _stop_reporter(self) -> None:
        """After the report that is under way, so that nothing it took is lost."""
        reporter, self._reporter = self._reporter, None
        if reporter is not None:
            async with self._telling:
                reporter.cancel()
            await asyncio.wait([reporter])


class NoTalk(Talk):
    """At an address that no protocol has."""

    protocol = "none"

    async def prepare(self) -> None:
        raise Refused(
            "unknown_path", f"there is nothing at {self.websocket.url.path}; docs/serving.md has the addresses"
        )

    async def handle(self, message: str | bytes) -> bool:
        raise AssertionError("it was refused")

    async def tell(self, news: News) -> None:
        raise AssertionError("it was refused")


def parse_object(message: str | bytes) -> dict[str, Any]:
    """A JSON object. Raises Refused for anything else."""
    try:
        value = json.loads(message)
    except (ValueError, RecursionError):
        raise Refused("bad_request", "a text message must be a JSON object, and this is no JSON") from None
    if not isinstance(value, dict):
        raise Refused("bad_request", f"a text message must be a JSON object, not {type(value).__name__}")
    return value
