"""``Client``: live streams over the network, used as those of a model that is loaded here. Needs websockets, and no torch."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from audiorec.errors import UserError
from audiorec.live import Boundary
from audiorec.live.inputs import Audio, Samples, pieces, to_packet
from audiorec.transcript import Piece, Result, Segment

if TYPE_CHECKING:
    from typing_extensions import Self
    from websockets.asyncio.client import ClientConnection as AsyncConnection
    from websockets.sync.client import ClientConnection

Encoding = Literal["float32", "int16"]
Event = Mapping[str, Any]
SEND_SECONDS = 1.0  # of audio in a message at most


class Client:
    """A server's ``/v1/stream``::

        client = audiorec.Client("ws://127.0.0.1:8000", model="digits")
        with client.stream(sample_rate=16000) as stream:
            for samples in microphone:
                stream.accept(samples)
                print(stream.partial().text)
        print(stream.partial().text)

    ``model`` None: the server's first. ``timeout``: seconds to wait for an answer. In asyncio use ``stream_async``.
    """

    def __init__(
        self,
        url: str = "ws://127.0.0.1:8000",
        model: str | None = None,
        token: str | None = None,
        timeout: float = 30.0,
    ):
        scheme, _, rest = url.rstrip("/").partition("://")
        scheme = {"http": "ws", "https": "wss"}.get(scheme, scheme)
        if scheme not in ("ws", "wss") or not rest:
            raise UserError(f"client: {url!r} is no address of a server; write ws://HOST:PORT or wss://HOST:PORT")
        self.url = f"{scheme}://{rest}/v1/stream"
        self.model, self.token, self.timeout = model, token, timeout

    def stream(
        self,
        sample_rate: int,
        hotwords: Sequence[str] = (),
        hotwords_score: float | None = None,
        encoding: Encoding = "float32",
    ) -> "ClientStream":
        """A live stream of samples at ``sample_rate`` Hz. ``hotwords`` need a model that is served with a beam. ``encoding``
        int16 sends half the bytes, and rounds floats."""
        return ClientStream(self, self._config(sample_rate, hotwords, hotwords_score, encoding))

    def stream_async(
        self,
        sample_rate: int,
        hotwords: Sequence[str] = (),
        hotwords_score: float | None = None,
        encoding: Encoding = "float32",
    ) -> "AsyncClientStream":
        """As ``stream``, for ``async with``."""
        return AsyncClientStream(self, self._config(sample_rate, hotwords, hotwords_score, encoding))

    def transcribe(self, audio: Audio, sample_rate: int | None = None) -> Result:
        """The words of a recording, as ``Recognizer.transcribe`` takes it; an array is at 16 kHz unless ``sample_rate`` says
        otherwise."""
        source = pieces(audio, sample_rate, 16000)
        first, rate = next(source)
        with self.stream(rate) as stream:
            stream.accept(first)
            for samples, _ in source:
                stream.accept(samples)
        return stream.partial()

    def _config(
        self, sample_rate: int, hotwords: Sequence[str], score: float | None, encoding: Encoding
    ) -> dict[str, Any]:
        config: dict[str, Any] = {"type": "config", "sample_rate": sample_rate, "encoding": encoding}
        if self.model is not None:
            config["model"] = self.model
        if hotwords:
            config["search"] = {"hotwords": list(hotwords)} | ({} if score is None else {"hotwords_score": score})
        return config

    @property
    def _headers(self) -> dict[str, str]:
        return {} if self.token is None else {"Authorization": f"Bearer {self.token}"}


class Heard:
    """What a server has said so far: its events become segments."""

    def __init__(self) -> None:
        self.ready = self.ended = False
        self.flushed = 0
        self.segments: list[Segment] = []
        self.under_way = Segment()
        self.settled = 0  # characters of its text that only grow
        self._news = 0  # segments that a call has returned

    def hear(self, message: str | bytes) -> Event:
        """Take an event. Raises UserError for one that tells of an error."""
        event: Event = json.loads(message)
        kind = event["type"]
        if kind == "error":
            raise UserError(f"server: {event['message']}")
        if kind == "final":
            self.segments.append(_segment(event))
            self.under_way, self.settled = Segment(), 0
        elif kind == "partial":
            self.under_way, self.settled = _segment(event), event["settled"]
        self.ready |= kind == "ready"
        self.ended |= kind == "end"
        self.flushed += kind == "flushed"
        return event

    def news(self) -> list[Segment]:
        news = self.segments[self._news :]
        self._news = len(self.segments)
        return news

    def result(self) -> Result:
        return Result([*self.segments, self.under_way] if self.under_way.text else list(self.segments))


class _Shared:
    """What both sorts of streams have."""

    def __init__(self, client: Client, config: dict[str, Any]):
        self.sample_rate: int = config["sample_rate"]
        self._client, self._config = client, config
        self._heard = Heard()
        self._flushes = 0

    def partial(self) -> Result:
        """The words that came so far; of a finished stream all of them."""
        return self._heard.result()

    @property
    def settled(self) -> int:
        """Characters of the text of the segment under way that do not change any more."""
        return self._heard.settled

    def _messages(self, samples: "Samples | bytes") -> Iterator[bytes]:
        array = to_packet(samples)
        data = array if self._config["encoding"] == "float32" else np.clip(np.rint(array * 32768), -32768, 32767)
        step = max(1, int(SEND_SECONDS * self.sample_rate))
        kind = "<f4" if self._config["encoding"] == "float32" else "<i2"
        for start in range(0, len(data), step):
            yield data[start : start + step].astype(kind).tobytes()

    def _flush(self, boundary: str) -> str:
        self._flushes += 1
        return json.dumps({"type": "flush", "boundary": boundary, "id": self._flushes})


FINISH = '{"type": "finish"}'


class ClientStream(_Shared):
    """Made by ``Client.stream``; ``accept``, ``partial``, ``flush`` and ``finish`` as of a ``Stream`` here."""

    def __init__(self, client: Client, config: dict[str, Any]):
        super().__init__(client, config)
        with _in_words(client.url):
            from websockets.sync.client import connect

            self._socket: ClientConnection = connect(
                client.url,
                additional_headers=client._headers,
                open_timeout=client.timeout,
                max_size=None,
                max_queue=None,
                compression=None,
            )
            try:
                self._socket.send(json.dumps(config))
                self._until(lambda heard: heard.ready)
            except BaseException:
                self._socket.close()
                raise

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and not self._heard.ended:
            self.finish()
        self._socket.close()

    def accept(self, samples: "Samples | bytes") -> list[Segment]:
        """Send the next samples. Returns the segments that came since the last call. Raises UserError for what the server
        refuses, and where it is gone."""
        with _in_words(self._client.url):
            try:
                for message in self._messages(samples):
                    self._socket.send(message)
            finally:  # an error that the server tells of says more than that it has closed
                self._hear_what_is_there()
            return self._heard.news()

    def flush(self, boundary: Boundary = "carry") -> list[Segment]:
        """As ``Session.flush``: the words of all samples so far, without ending the stream."""
        with _in_words(self._client.url):
            self._socket.send(self._flush(boundary))
            self._until(lambda heard: heard.flushed == self._flushes)
            return self._heard.news()

    def finish(self) -> Result:
        """The words of all samples; ends the stream."""
        with _in_words(self._client.url):
            self._socket.send(FINISH)
            self._until(lambda heard: heard.ended)
            self._socket.close()
            return self._heard.result()

    def _until(self, done: Any) -> None:
        while not done(self._heard):
            self._heard.hear(self._socket.recv(self._client.timeout))

    def _hear_what_is_there(self) -> None:
        while True:
            try:
                self._heard.hear(self._socket.recv(0))
            except TimeoutError:
                return


class AsyncClientStream(_Shared):
    """Made by ``Client.stream_async``. ``async for event in stream`` gives the server's events as they come, until the last one;
    while nobody iterates, the other calls take them. Use one of them at a time, beside ``accept``."""

    _socket: "AsyncConnection"

    async def __aenter__(self) -> "Self":
        with _in_words(self._client.url):
            from websockets.asyncio.client import connect

            self._socket = await connect(
                self._client.url,
                additional_headers=self._client._headers,
                open_timeout=self._client.timeout,
                max_size=None,
                max_queue=None,
                compression=None,
            )
            try:
                await self._socket.send(json.dumps(self._config))
                await self._until(lambda heard: heard.ready)
            except BaseException:
                await self._socket.close()
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and not self._heard.ended:
            await self.finish()
        await self._socket.close()

    async def accept(self, samples: "Samples | bytes") -> None:
        """Send the next samples."""
        with _in_words(self._client.url):
            for message in self._messages(samples):
                await self._socket.send(message)

    async def flush(self, boundary: Boundary = "carry") -> list[Segment]:
        """As ``ClientStream.flush``."""
        with _in_words(self._client.url):
            await self._socket.send(self._flush(boundary))
            await self._until(lambda heard: heard.flushed == self._flushes)
            return self._heard.news()

    async def finish(self) -> Result:
        """As ``ClientStream.finish``."""
        with _in_words(self._client.url):
            await self.end()
            await self._until(lambda heard: heard.ended)
            return self._heard.result()

    async def end(self) -> None:
        """Say that no more audio comes; ``async for`` ends after the last words."""
        with _in_words(self._client.url):
            await self._socket.send(FINISH)

    async def __aiter__(self) -> AsyncIterator[Event]:
        while not self._heard.ended:
            with _in_words(self._client.url):
                event = self._heard.hear(await self._socket.recv())
            yield event

    async def _until(self, done: Any) -> None:
        import asyncio

        while not done(self._heard):
            self._heard.hear(await asyncio.wait_for(self._socket.recv(), self._client.timeout))


def _segment(event: Event) -> Segment:
    words = [Piece(word["text"], word["start"], word["end"], word["confidence"]) for word in event["words"]]
    return Segment(event["text"], words, continues=event["continues"])


@contextmanager
def _in_words(url: str) -> Iterator[None]:
    """What goes wrong on the way becomes a line."""
    import asyncio

    try:
        from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
    except ModuleNotFoundError:
        raise UserError("client: websockets is not installed; pip install 'audiorec-speech[serve]'") from None
    try:
        yield
    except InvalidStatus as error:
        reason = error.response.status_code
        try:
            said = json.loads(error.response.body or b"")["error"]["message"]
        except (ValueError, KeyError, TypeError):
            said = error.response.reason_phrase
        raise UserError(f"{url}: refused with {reason}: {said}") from None
    except ConnectionClosed as error:
        why = f"{error.rcvd.code} {error.rcvd.reason}" if error.rcvd else "without a word"
        raise UserError(f"{url}: the server closed the connection: {why}") from None
    except (TimeoutError, asyncio.TimeoutError):
        raise UserError(f"{url}: no answer in time; is it an audiorec server?") from None
    except (OSError, WebSocketException) as error:
        raise UserError(f"{url}: {error}") from None
