"""``audiorec transcribe``: recordings, folders of them, or raw samples on standard input, to text."""

import sys
import time
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from audiorec.cli.app import Device, Head, Language, Latency, Model, Runtime, Threads, app
from audiorec.cli.load import load_recognizer
from audiorec.cli.search import with_search
from audiorec.errors import ConfigError, UserError

AUDIO = {
    ".wav",
    ".flac",
    ".ogg",
    ".oga",
    ".opus",
    ".mp3",
    ".aif",
    ".aiff",
    ".au",
    ".caf",
    ".w64",
    ".rf64",
}  # in a folder
STANDARD_INPUT = Path("-")


class Format(str, Enum):
    text = "text"
    json = "json"
    srt = "srt"
    vtt = "vtt"
    ctm = "ctm"
    textgrid = "textgrid"


@app.command()
@with_search
def transcribe(
    model: Model,
    files: Annotated[list[Path], typer.Argument(help="Audio files, folders of them, or - for raw samples.")],
    *,
    format: Annotated[Format, typer.Option(help="What to write.")] = Format.text,
    out: Annotated[Path | None, typer.Option(help="A folder for a file each; those that are there stay.")] = None,
    sample_rate: Annotated[int | None, typer.Option(min=1, help="Of raw 16-bit samples on standard input, Hz.")] = None,
    head: Head = None,
    latency_ms: Latency = None,
    language: Language = None,
    device: Device = "cpu",
    threads: Threads = None,
    runtime: Runtime = "auto",
    accept_truncated: Annotated[
        bool, typer.Option("--accept-truncated", help="Take a file that is cut short as far as it goes.")
    ] = False,
    search: dict[str, Any],
) -> None:
    """Print the words of recordings, or write them as subtitles and other formats; several share each step of the model.

    A file that cannot be read is named, the others are transcribed. Raw samples are 16-bit PCM, mono, little-endian; as text
    each segment of speech is printed when it has ended.
    """
    from audiorec.transcript.formats import FORMATS

    write = FORMATS[format.value]
    if STANDARD_INPUT in files:
        if files != [STANDARD_INPUT] or out or sample_rate is None:
            raise ConfigError("-: standard input goes alone, without --out, and needs --sample-rate")
        recognizer = load_recognizer(model, device, head, search, latency_ms, threads, runtime, language=language)
        _standard_input(recognizer, sample_rate, None if format is Format.text else write)
        return
    if sample_rate is not None:
        raise ConfigError("--sample-rate is that of raw samples on standard input: a file has its own")
    recognizer = load_recognizer(model, device, head, search, latency_ms, threads, runtime, language=language)
    files = [file for given in files for file in _audio(given)]
    if not out and len(files) > 1 and format in (Format.srt, Format.vtt, Format.textgrid):
        raise ConfigError(f"--format {format.value}: several files need a folder, --out DIR")
    if out:
        _into_folder(recognizer, files, out, format, accept_truncated)
    elif len(files) == 1:
        print(write(recognizer.transcribe(files[0], accept_truncated=accept_truncated), files[0].stem), end="")
    else:
        failed = 0
        for file, result in _with_bar(files, recognizer.transcribe_each(files, accept_truncated=accept_truncated)):
            if isinstance(result, UserError):
                failed += _tell(result)
            else:
                text = f"{file}\t{result.text}\n" if format is Format.text else write(result, file.stem)
                print(text, end="", flush=True)
        _all_or_error(failed, len(files))


def _into_folder(recognizer: Any, files: list[Path], out: Path, format: Format, accept_truncated: bool) -> None:
    """A file for each recording, whole or not at all, so that what was cut off goes on where it stopped."""
    from audiorec.files import write_text
    from audiorec.transcript.formats import FORMATS, SUFFIX

    targets = {file: out / f"{file.stem}.{SUFFIX.get(format.value, format.value)}" for file in files}
    if len(set(targets.values())) < len(files):
        twice = next(file for file in files if sum(other.stem == file.stem for other in files) > 1)
        raise UserError(f"{twice}: two recordings have this name, and {out} can hold one {targets[twice].name}")
    out.mkdir(parents=True, exist_ok=True)
    left = [file for file in files if not targets[file].exists()]
    failed, seconds, start = 0, 0.0, time.perf_counter()
    for file, result in _with_bar(left, recognizer.transcribe_each(left, accept_truncated=accept_truncated)):
        if isinstance(result, UserError):
            failed += _tell(result)
        else:
            seconds += result.seconds
            write_text(targets[file], FORMATS[format.value](result, file.stem))
    there = f", {len(files) - len(left)} were there" if len(left) < len(files) else ""
    factor = (time.perf_counter() - start) / seconds if seconds else 0.0
    print(
        f"{out}: {len(left) - failed} of {len(files)} transcribed{there}, real-time factor {factor:.3f}",
        file=sys.stderr,
    )
    _all_or_error(failed, len(files))


def _standard_input(recognizer: Any, rate: int, write: Any) -> None:
    with recognizer.stream(rate, segments_only=write is None) as stream:
        while data := sys.stdin.buffer.read(rate // 10 * 2):  # blocks until 100 ms are there, or the end
            for segment in stream.accept(data[: len(data) // 2 * 2]):
                if write is None:
                    print(segment.text, flush=True)
    result = stream.partial()
    if write is not None:
        print(write(result, "stdin"), end="")
    elif result.text:
        print(result.text)


def _audio(given: Path) -> list[Path]:
    """A folder's recordings, in order; a file itself."""
    if not given.is_dir():
        return [given]
    found = sorted(file for file in given.rglob("*") if file.suffix.lower() in AUDIO)
    if not found:
        raise UserError(f"{given}: holds no recording ({', '.join(sorted(AUDIO))})")
    return found


def _tell(error: UserError) -> int:
    print(f"error: {error}", file=sys.stderr, flush=True)
    return 1


def _all_or_error(failed: int, total: int) -> None:
    if failed:
        raise UserError(f"{failed} of {total} files were not transcribed")


def _with_bar(files: list[Path], results: Iterator[Any]) -> Iterator[tuple[Path, Any]]:
    """The files and their results one by one, with a bar of progress on a terminal."""
    pairs = zip(files, results, strict=True)
    if not sys.stderr.isatty():
        yield from pairs
        return
    from rich.console import Console
    from rich.progress import Progress

    # Redirected, print() goes above the bar; a file or pipe that standard output leads to must not be.
    with Progress(console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty()) as progress:
        yield from progress.track(pairs, total=len(files), description="transcribing")
