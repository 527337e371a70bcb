"""OpenAI's REST interface: ``POST /v1/audio/transcriptions`` of a file, and ``GET /v1/models``."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from python_multipart.exceptions import FormParserError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from audiorec.audio.read import blocks
from audiorec.errors import UserError
from audiorec.live import News
from audiorec.serving.access import must_be_allowed
from audiorec.serving.deltas import Deltas
from audiorec.serving.events import final_event, partial_event
from audiorec.serving.formats import FORMATS, as_json, as_verbose, token_log_probs, usage
from audiorec.serving.refusal import Gone, Refused
from audiorec.serving.service import Client, Served, Service
from audiorec.serving.speech import SpeechStream
from audiorec.transcript import Piece, Result
from audiorec.transcript.formats import to_srt, to_text, to_vtt

PROTOCOL = "openai-rest"
FORM_BYTES = 2**16  # beside the file


async def models(request: Request) -> Response:
    service: Service = request.app.state.service
    must_be_allowed(request, service.access)
    return JSONResponse({"object": "list", "data": [_model(served) for served in service.models.values()]})


async def model(request: Request) -> Response:
    service: Service = request.app.state.service
    must_be_allowed(request, service.access)
    return JSONResponse(_model(service.find(request.path_params["name"])))


def _model(served: Served) -> dict[str, Any]:
    return {"id": served.name, "object": "model", "created": served.created, "owned_by": "audiorec"}


async def transcriptions(request: Request) -> Response:
    service: Service = request.app.state.service
    must_be_allowed(request, service.access)
    service.must_run()
    client = Client()
    service.clients.add(client)
    try:
        form = await _form(request, client, service.limits.upload_bytes)
        return await _transcribe(service, form)
    except (Gone, ClientDisconnect):
        return Response(status_code=499)  # nobody reads it
    finally:
        service.clients.discard(client)


async def _transcribe(service: Service, form: FormData) -> Response:
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise Refused("bad_request", "file: is missing; send the audio as a file of a multipart form")
    kind = _text(form, "response_format") or "json"
    if kind not in FORMATS:
        raise Refused("bad_request", f"response_format: {kind!r} is not known; choose from {', '.join(FORMATS)}")
    granularities = _list(form, "timestamp_granularities")
    if wrong := set(granularities) - {"word", "segment"}:
        raise Refused("bad_request", f"timestamp_granularities: {sorted(wrong)[0]!r} is not known; word or segment")
    source = blocks(io.BytesIO(await file.read()))
    first = await _next_block(source)
    assert first is not None  # a file without samples is refused
    stream = await SpeechStream.open(
        service,
        _text(form, "model"),
        PROTOCOL,
        sample_rate=first[1],
        encoding="float32",
        hotwords=_list(form, "keywords"),
    )
    recording = Recording(stream, source, first[0])
    if kind == "events":
        return Events(service, recording, _lines(recording), _line_error, "application/x-ndjson")
    logprobs = "logprobs" in _list(form, "include")
    if _text(form, "stream") in ("true", "True", "1") and kind in ("json", "text"):
        return Events(service, recording, _deltas(recording, logprobs), _delta_error, "text/event-stream")
    segments = [segment async for news in recording.news() for segment in news.ended]
    result = Result(segments)
    if kind == "json":
        return JSONResponse(as_json(result, stream.seconds, logprobs))
    if kind == "verbose_json":
        pieces = stream.served.engine.recognizer.tokenizer.pieces
        language = _text(form, "language") or service.languages[0]
        return JSONResponse(as_verbose(result, stream.seconds, language, pieces, granularities))
    write = {"text": to_text, "srt": to_srt, "vtt": to_vtt}[kind]
    return PlainTextResponse(write(result, ""))


class Recording:
    """A file on its way through a stream, which is closed at the end."""

    def __init__(self, stream: SpeechStream, source: Any, first: Any):
        self.stream, self._source, self._first = stream, source, first

    async def news(self, as_it_comes: bool = False) -> AsyncIterator[News]:
        """What is new after each second of audio; ``as_it_comes``: its words, else those that are there."""
        stream, samples = self.stream, self._first
        try:
            while samples is not None:
                for start in range(0, len(samples), stream.sample_rate):
                    piece = samples[start : start + stream.sample_rate]
                    await stream.push(piece.astype("<f4").tobytes())
                    if as_it_comes:
                        await stream.wait()
                    yield await stream.take()
                block = await _next_block(self._source)
                samples = None if block is None else block[0]
            await stream.finish()
            yield await stream.take()
        finally:
            stream.close()


class Events(StreamingResponse):
    """What is told of a recording while it is heard; ``complain`` writes an error on the way."""

    def __init__(
        self,
        service: Service,
        recording: Recording,
        told: AsyncIterator[str],
        complain: Callable[[Refused], str],
        media_type: str,
    ):
        super().__init__(_watched(service, told, complain), media_type=media_type)
        self._recording = recording

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:  # also where the client has left before the first event
            self._recording.stream.close()


async def _watched(
    service: Service, told: AsyncIterator[str], complain: Callable[[Refused], str]
) -> AsyncIterator[str]:
    client = Client()
    service.clients.add(client)  # so that a server that stops waits for it
    try:
        async for text in told:
            yield text
    except Refused as refused:
        service.count(refused, protocol=PROTOCOL)
        yield complain(refused)
    finally:
        service.clients.discard(client)


async def _deltas(recording: Recording, logprobs: bool) -> AsyncIterator[str]:
    """OpenAI's server-sent events."""
    deltas = Deltas()
    tokens: list[Piece] = []
    async for news in recording.news(as_it_comes=True):
        tokens += [token for segment in news.ended for token in segment.tokens] if logprobs else []
        if delta := deltas.add(news):
            yield _event({"type": "transcript.text.delta", "delta": delta})
    done = {"type": "transcript.text.done", "text": deltas.text, "usage": usage(recording.stream.seconds)}
    yield _event({**done, "logprobs": token_log_probs(tokens)} if logprobs else done)


def _event(event: dict[str, Any]) -> str:
    return f"data: {json.dumps(event, ensure_ascii=False)}\n\n"


def _delta_error(refused: Refused) -> str:
    error = {"message": str(refused), "type": "invalid_request_error", "param": None, "code": refused.reason}
    return _event({"type": "error", "error": error})


async def _lines(recording: Recording) -> AsyncIterator[str]:
    """The events of ``/v1/stream``, a line each."""
    number = 0
    async for news in recording.news(as_it_comes=True):
        for segment in news.ended:
            yield _line(final_event(number, segment))
            number += 1
        if news.under_way.text:
            yield _line(partial_event(number, news.under_way, news.settled))
    yield _line({"type": "end", "seconds": recording.stream.seconds, "segments": number})


def _line(event: dict[str, Any]) -> str:
    return json.dumps(event, ensure_ascii=False) + "\n"


def _line_error(refused: Refused) -> str:
    return _line({"type": "error", "code": refused.reason, "message": str(refused)})


async def _next_block(source: Any) -> Any:
    """The next (samples, rate) of a file, None at its end. Raises Refused for what is no audio."""
    try:
        return await asyncio.to_thread(next, source, None)
    except UserError as error:
        raise Refused("bad_audio", f"file: {error}") from None


async def _form(request: Request, client: Client, limit: int) -> FormData:
    """The fields and the file. Raises Refused for another form, one that is too big, and a client that is too slow."""
    size = 0

    async def receive() -> Message:
        nonlocal size
        message: Message = await client.next(request.receive())
        size += len(message.get("body", b""))
        if size > limit + FORM_BYTES:
            raise Refused("too_big", f"the file is larger than {limit} bytes; send it in parts, or over /v1/stream")
        return message

    counted = Request(request.scope, receive)
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise Refused("bad_request", "send a multipart form (multipart/form-data) with the audio as `file`")
    try:
        return await counted.form(max_files=1, max_fields=1000, max_part_size=FORM_BYTES)
    except (HTTPException, FormParserError) as error:
        why = error.detail if isinstance(error, HTTPException) else str(error)
        raise Refused("bad_request", f"the multipart form is damaged: {why}") from None


def _text(form: FormData, name: str) -> str | None:
    value = form.get(name)
    return value if isinstance(value, str) and value else None


def _list(form: FormData, name: str) -> list[str]:
    values = [*form.getlist(f"{name}[]"), *form.getlist(name)]
    return [value for value in values if isinstance(value, str)]
