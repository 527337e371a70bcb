"""The command serve: models on a port."""

from pathlib import Path
from typing import Annotated, Any

import typer

from audiorec.cli.app import Device, Head, Runtime, Threads, app
from audiorec.cli.load import load_recognizer
from audiorec.cli.search import with_search
from audiorec.errors import ConfigError, UserError

LOOPBACK = "127.0.0.1", "localhost", "::1"


@app.command()
@with_search
def serve(
    models: Annotated[
        list[str], typer.Argument(help="Model directories, runs or exported folders, each PATH or NAME=PATH.")
    ],
    *,
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 is any of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    token: Annotated[str | None, typer.Option(envvar="AUDIOREC_TOKEN", help="What clients must send.")] = None,
    wyoming: Annotated[
        int | None, typer.Option(min=0, max=65535, help="A port for Home Assistant's Wyoming protocol, often 10300.")
    ] = None,
    language: Annotated[
        list[str] | None,
        typer.Option(help="What the models hear, for clients that ask; one alone is told to models that take it."),
    ] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="A web page's origin that may connect, e.g. https://example.org; * is any.")
    ] = None,
    certificate: Annotated[Path | None, typer.Option(exists=True, help="TLS: certificate, PEM.")] = None,
    key: Annotated[Path | None, typer.Option(exists=True, help="TLS: private key, PEM.")] = None,
    sessions: Annotated[int, typer.Option(min=1, help="Streams at once, of each model.")] = 64,
    max_seconds: Annotated[float, typer.Option(min=0.001, help="Audio of a session.")] = 14400.0,
    idle_seconds: Annotated[float, typer.Option(min=0.001, help="Without a message, then a session ends.")] = 60.0,
    max_message: Annotated[int, typer.Option(min=1, help="Bytes of a message.")] = 2**24,
    max_upload: Annotated[int, typer.Option(min=1, help="Bytes of a file to transcribe.")] = 2**27,
    max_rate: Annotated[
        float | None, typer.Option(min=1, help="Bytes a second from a session; a faster one is slowed down.")
    ] = None,
    silence_after_words: Annotated[
        float | None,
        typer.Option(min=0.01, show_default="1.2", help="Seconds of silence that end a segment with words."),
    ] = None,
    batch_wait_ms: Annotated[float, typer.Option(min=0, help="How long a step waits for more streams.")] = 0.0,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds that clients have for their last words at the end.")
    ] = 10.0,
    log_words: Annotated[bool, typer.Option("--log-words", help="Write what was said into the log, too.")] = False,
    threads: Threads = None,
    runtime: Runtime = "auto",
    head: Head = None,
    latency_ms: Annotated[
        list[float] | None,
        typer.Option(min=0, help="Look-ahead of the attention. Of several, NAME is the first, NAME@MS each other."),
    ] = None,
    device: Device = "cpu",
    search: dict[str, Any],
) -> None:
    """Serve models to WebSocket and HTTP clients; docs/serving.md has the protocols. Ctrl-C or SIGTERM ends."""
    if key is not None and certificate is None:
        raise ConfigError("--key: needs --certificate")
    if token == "":
        raise ConfigError("--token: is empty; leave it out, or AUDIOREC_TOKEN unset, to let everybody in")
    if wyoming is not None and token is not None and host not in LOOPBACK:
        raise ConfigError(
            f"--wyoming: has no tokens, so it would let everybody in at {host}; serve it at --host 127.0.0.1"
        )
    paths = _named(models)

    from audiorec.serving.app import serve
    from audiorec.serving.log import Log
    from audiorec.serving.service import Service
    from audiorec.serving.settings import Access, Limits

    # A head that has no segments takes the default alone.
    endpoint = None if silence_after_words is None else {"silence_after_words": silence_after_words}
    recognizers: dict[str, Any] = {}
    for name, path in paths.items():
        recognizer = load_recognizer(path, device, head, search, None, threads, runtime, endpoint)
        if language and len(language) == 1 and recognizer.languages:
            recognizer = recognizer.in_language(language[0])
        views = {
            f"{name}@{ms:g}" if i else name: recognizer.at_latency(ms)
            for i, ms in enumerate(dict.fromkeys(latency_ms or []))
        } or {name: recognizer}
        if taken := sorted(views.keys() & recognizers.keys()):
            raise UserError(f"{path}: another model is named {taken[0]!r}, too; give NAME=PATH")
        recognizers |= views
    limits = Limits(
        sessions=sessions,
        seconds=max_seconds,
        idle_seconds=idle_seconds,
        bytes_per_second=max_rate,
        message_bytes=max_message,
        upload_bytes=max_upload,
    )
    access, log = Access(token=token, origins=tuple(allow_origin or ())), Log(log_words)
    service = Service(recognizers, limits, access, log, batch_wait_ms, language or ["en"])

    def ready(url: str) -> None:
        if token is None and host not in LOOPBACK:
            log("warning", message=f"everybody who reaches {host} may use this server: give it a --token")
        print(f"serving {', '.join(recognizers)} at {url}", flush=True)

    serve(service, host, port, certificate, key, grace, ready, wyoming)


def _named(models: list[str]) -> dict[str, Path]:
    """Names of models: the folder's, or NAME of NAME=PATH."""
    found: dict[str, Path] = {}
    for model in models:
        name, equals, path = model.partition("=")
        if not equals or Path(model).exists():
            folder, path = Path(model).resolve(), model
            name = folder.parent.name if folder.name == "model" else folder.name  # a run holds its model in ``model``
        if not name:
            raise UserError(f"{model}: has no name; give NAME=PATH")
        if name in found:
            raise UserError(f"{model}: another model is named {name!r}, too; give NAME=PATH")
        found[name] = Path(path)
    return found
