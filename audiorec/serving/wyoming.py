"""Wyoming, which Home Assistant speaks: lines of JSON over TCP, each with data and bytes behind it if it says so."""

import asyncio
import json
import time
from contextlib import suppress
from typing import Any
from uuid import uuid4

from audiorec import __version__
from audiorec.serving.deltas import Deltas
from audiorec.serving.refusal import WITH_WORDS, Gone, Refused
from audiorec.serving.service import Client, Service
from audiorec.serving.speech import SpeechStream

LINE_BYTES = 2**16
DATA_BYTES = 2**20
PROTOCOL = "wyoming"
Event = tuple[str, dict[str, Any], bytes]


class WyomingTalk:
    """One connection, on which any number of recordings come one after another."""

    def __init__(self, service: Service, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.service, self._reader, self._writer = service, reader, writer
        self.client = Client()
        self.id = uuid4().hex
        self.asked: dict[str, Any] = {}  # by the last ``transcribe``
        self.stream: SpeechStream | None = None
        self.deltas = Deltas()

    async def run(self) -> None:
        """All of it. Raises nothing but what ends the server."""
        self.service.clients.add(self.client)
        end = "finished"
        try:
            self.service.must_run()
            while True:
                await self._handle(*await self.client.next(self._read()))
        except (Gone, OSError, asyncio.IncompleteReadError):
            end = "left"
        except Refused as refused:
            end = refused.reason
            self.service.count(refused, id=self.id, protocol=PROTOCOL)
            await self._refuse(refused)
        except asyncio.CancelledError:
            end = "dropped"
        except Exception as error:
            end = "failed"
            self.service.log.error(error, id=self.id, protocol=PROTOCOL)
            await self._refuse(Refused("failed", "the server made a mistake; its log says more"))
        finally:
            self.service.clients.discard(self.client)
            self._close_stream()
            self._writer.close()
            self.service.log("session", id=self.id, protocol=PROTOCOL, end=end)

    async def _handle(self, kind: str, data: dict[str, Any], payload: bytes) -> None:
        if kind == "describe":
            await self._send("info", _info(self.service))
        elif kind == "ping":
            await self._send("pong", {"text": data.get("text")})
        elif kind == "transcribe":
            self.service.find(_name(data.get("name")))
            self.asked = data
        elif kind == "audio-start":
            await self._start(data)
        elif kind == "audio-chunk":
            if self.stream is None:
                await self._start(data)
            assert self.stream is not None
            if data.get("rate", self.stream.sample_rate) != self.stream.sample_rate:
                raise Refused("bad_request", f"audio-chunk: rate is {data['rate']}, after {self.stream.sample_rate}")
            await self.stream.push(payload)
            await self._report()
        elif kind == "audio-stop":
            if self.stream is None:
                raise Refused("bad_request", "audio-stop: without audio-start")
            await self._finish()
        # Others are for other sorts of programs.

    async def _start(self, data: dict[str, Any]) -> None:
        rate, width, channels = (data.get(key) for key in ("rate", "width", "channels"))
        if not isinstance(rate, int) or (width, channels) != (2, 1):
            raise Refused(
                "bad_request", f"audio: rate {rate}, width {width}, channels {channels}; send width 2 and 1 channel"
            )
        self._close_stream()
        phrases = [*_strings(self.asked.get("transcript_names")), *_strings(self.asked.get("transcript_terms"))]
        self.stream = await SpeechStream.open(
            self.service, _name(self.asked.get("name")), PROTOCOL, sample_rate=rate, hotwords=phrases
        )
        self.deltas = Deltas()
        await self._send("transcript-start", self._language())

    async def _report(self) -> None:
        assert self.stream is not None
        if delta := self.deltas.add(await self.stream.take()):
            await self._send("transcript-chunk", {"text": delta})

    async def _finish(self) -> None:
        assert self.stream is not None
        await self.stream.finish()
        await self._report()
        self._close_stream()
        self.service.log("words", id=self.id, text=self.deltas.text)
        await self._send("transcript", {"text": self.deltas.text, **self._language()})
        await self._send("transcript-stop", {})

    def _close_stream(self) -> None:
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.close()

    def _language(self) -> dict[str, Any]:
        language = self.asked.get("language")
        return {"language": language} if isinstance(language, str) else {}

    async def _refuse(self, refused: Refused) -> None:
        with suppress(Gone, Refused, OSError):
            if self.stream is not None and refused.reason in WITH_WORDS:
                await self._finish()
            await self._send("error", {"text": str(refused), "code": refused.reason})

    async def _read(self) -> Event:
        """The next event. Raises Gone, or Refused for what is none."""
        try:
            line = await self._reader.readline()
        except ValueError:
            raise Refused("too_big", f"a line of more than {LINE_BYTES} bytes") from None
        if not line:
            raise Gone
        event = _object(line)
        data = event.get("data") or {}
        if size := _size(event, "data_length", DATA_BYTES):
            data = {**data, **_object(await self._reader.readexactly(size))} if isinstance(data, dict) else None
        if not isinstance(event.get("type"), str) or not isinstance(data, dict):
            raise Refused("bad_request", "an event needs a type, and its data must be an object")
        size = _size(event, "payload_length", self.service.limits.message_bytes)
        return event["type"], data, await self._reader.readexactly(size) if size else b""

    async def _send(self, kind: str, data: dict[str, Any]) -> None:
        body = json.dumps(data, ensure_ascii=False).encode() if data else b""
        head = {"type": kind, "version": __version__, **({"data_length": len(body)} if body else {})}
        self.client.sending = time.monotonic()
        try:
            self._writer.write(json.dumps(head).encode() + b"\n" + body)
            await self._writer.drain()
        finally:
            self.client.sending = None


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise Refused("bad_request", "this is no JSON; is it a Wyoming client?") from None
    if not isinstance(value, dict):
        raise Refused("bad_request", "an event must be a JSON object")
    return value


def _size(event: dict[str, Any], key: str, most: int) -> int:
    size = event.get(key) or 0
    if not isinstance(size, int) or size < 0:
        raise Refused("bad_request", f"{key}: is no number of bytes")
    if size > most:
        raise Refused("too_big", f"{key}: {size} bytes; at most {most} are taken")
    return size


def _name(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise Refused("bad_request", "name: must be a text")
    return value or None


def _strings(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str) and one] if isinstance(value, list) else []


def _info(service: Service) -> dict[str, Any]:
    by = {"attribution": {"name": "audiorec", "url": ""}, "installed": True, "version": __version__}
    models = [
        {"name": name, "description": name, "languages": list(service.languages), **by} for name in service.models
    ]
    program = {
        "name": "audiorec",
        "description": "streaming speech recognition",
        "models": models,
        "supports_transcript_streaming": True,
        "requires_external_vad": True,
        **by,
    }
    empty: dict[str, Any] = {key: [] for key in ("tts", "handle", "intent", "wake", "mic", "snd")}
    return {"asr": [program], **empty}
