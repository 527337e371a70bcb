"""The web server: its addresses, how it starts, and how it stops without losing a word."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from audiorec.errors import UserError
from audiorec.serving import openai_rest
from audiorec.serving.about import about, why
from audiorec.serving.access import must_be_allowed
from audiorec.serving.deepgram import DeepgramTalk
from audiorec.serving.http import Http
from audiorec.serving.log import Lines
from audiorec.serving.page_files import page_routes
from audiorec.serving.realtime_dialects import AnyRealtimeTalk, transcription_sessions
from audiorec.serving.refusal import Refused
from audiorec.serving.service import Service
from audiorec.serving.sherpa import RootTalk, SherpaTalk
from audiorec.serving.stream_protocol import StreamTalk
from audiorec.serving.talk import NoTalk, Talk
from audiorec.serving.vosk import VoskTalk
from audiorec.serving.wyoming import LINE_BYTES, WyomingTalk

TALKS: dict[str, type[Talk]] = {
    "/v1/stream": StreamTalk,
    "/v1/realtime": AnyRealtimeTalk,
    "/v1/listen": DeepgramTalk,
    "/vosk": VoskTalk,
    "/sherpa-onnx": SherpaTalk,
    "/": RootTalk,
    "/{path:path}": NoTalk,
}


def make_app(service: Service) -> Starlette:
    """All addresses of a server."""
    routes: list[BaseRoute] = [*page_routes(), Route("/health", health), Route("/metrics", metrics)]
    routes += [Route("/v1/about", about), Route("/v1/stream", why, methods=["GET", "POST"])]
    routes += [
        Route("/v1/models", openai_rest.models),
        Route("/v1/models/{name:path}", openai_rest.model),
        Route("/v1/realtime/transcription_sessions", transcription_sessions, methods=["POST"]),
        Route("/v1/audio/transcriptions", openai_rest.transcriptions, methods=["POST"]),
    ]
    routes += [WebSocketRoute(path, _talks(kind)) for path, kind in TALKS.items()]

    @contextlib.asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        # Each stream may have one call that waits in a thread of its own.
        threads = 32 + 2 * service.limits.sessions * len(service.models)
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(threads, "audiorec-wait"))
        watch = asyncio.create_task(service.watch())
        yield
        watch.cancel()
        await asyncio.to_thread(service.close)

    app = Starlette(routes=routes, lifespan=life, exception_handlers={Refused: _refused})  # type: ignore[dict-item]
    app.state.service = service
    return app


def _talks(kind: type[Talk]) -> Callable[[WebSocket], Any]:
    async def endpoint(websocket: WebSocket) -> None:
        await kind(websocket.app.state.service, websocket).run()

    return endpoint


async def health(request: Request) -> Response:
    """For whoever watches the server; needs no token."""
    service: Service = request.app.state.service
    models = {name: {"streams": served.streams} for name, served in service.models.items()}
    failed = [name for name, served in service.models.items() if served.engine.failure is not None]
    status = f"failed: {', '.join(failed)}" if failed else "shutting down" if service.draining else "ok"
    return JSONResponse({"status": status, "models": models}, 200 if status == "ok" else 503)


async def metrics(request: Request) -> Response:
    service: Service = request.app.state.service
    must_be_allowed(request, service.access)
    text = await asyncio.to_thread(service.metrics.text)
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")


async def _refused(request: Request, refused: Refused) -> Response:
    request.app.state.service.count(refused, path=request.url.path)
    body = {"error": {"message": str(refused), "type": "invalid_request_error", "param": None, "code": refused.reason}}
    headers = {"Retry-After": "5"} if refused.status == 503 else None
    return JSONResponse(body, refused.status, headers)


class Server(uvicorn.Server):
    """The first SIGTERM or SIGINT lets every client finish, the second ends at once."""

    def __init__(
        self,
        config: uvicorn.Config,
        service: Service,
        grace: float,
        ready: Callable[[], None],
        wyoming: socket.socket | None,
    ):
        super().__init__(config)
        self.service, self.grace, self.ready, self.wyoming = service, grace, ready, wyoming
        self._drain: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        if self.should_exit:
            return
        if self.wyoming is not None:
            self.servers.append(await asyncio.start_server(self._talk_wyoming, sock=self.wyoming, limit=LINE_BYTES))
        self.ready()

    async def _talk_wyoming(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await WyomingTalk(self.service, reader, writer).run()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.service.draining or not self.started:
            self.should_exit = self.force_exit = True
        else:
            self.service.draining = True  # at once: nobody new comes in
            self._loop.call_soon_threadsafe(self._begin_to_drain)

    def _begin_to_drain(self) -> None:
        self._drain = asyncio.create_task(self._drain_and_exit())

    async def _drain_and_exit(self) -> None:
        self.service.log("draining", clients=len(self.service.clients))
        for server in self.servers:
            server.close()
        await self.service.drain(self.grace)
        self.should_exit = True


def _listen(host: str, port: int, option: str) -> socket.socket:
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise UserError(f"--host {host} {option} {port}: cannot listen there: {error.strerror or error}") from None
    # Clients' sockets inherit it. Without it last words wait 40 ms for the acknowledgement of the message before them:
    # asyncio sets it only on sockets whose protocol is named, which create_server's is not.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def serve(
    service: Service,
    host: str = "127.0.0.1",
    port: int = 8000,
    certificate: Path | None = None,
    key: Path | None = None,
    grace: float = 10.0,
    ready: Callable[[str], None] = print,
    wyoming_port: int | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT. ``ready`` gets the address once clients may come; a port of 0 is any that is free.

    Raises UserError where it cannot listen there.
    """
    listening = _listen(host, port, "--port")
    wyoming = None if wyoming_port is None else _listen(host, wyoming_port, "--wyoming")
    logging.getLogger().handlers = [Lines(service.log)]
    logging.captureWarnings(True)
    config = uvicorn.Config(
        make_app(service),
        log_config=None,
        access_log=False,
        lifespan="on",
        http=Http,
        ws="websockets-sansio",
        ws_max_size=service.limits.message_bytes,
        ws_per_message_deflate=False,  # audio does not shrink by it, and a small message could become a large one
        ssl_certfile=certificate,
        ssl_keyfile=key,
        timeout_graceful_shutdown=2,
        server_header=False,
    )
    try:
        config.load()
    except OSError as error:  # ssl's errors too
        raise UserError(f"--certificate {certificate} --key {key}: {error.strerror or error}") from None
    name = f"[{host}]" if ":" in host else host
    address = f"{'https' if certificate else 'http'}://{name}:{listening.getsockname()[1]}"
    if wyoming is not None:
        address += f", Wyoming at tcp://{name}:{wyoming.getsockname()[1]}"
    server = Server(config, service, grace, lambda: ready(address), wyoming)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(server.serve(sockets=[listening]))
    signal.signal(signal.SIGINT, signal.default_int_handler)
