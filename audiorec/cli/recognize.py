"""Commands that use models: decode, tune, align, mic."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from audiorec.cli.app import AllowPipes, Device, Head, Language, Latency, Model, Runtime, Threads, app
from audiorec.cli.load import load_recognizer
from audiorec.cli.search import with_search
from audiorec.errors import ConfigError


@app.command()
@with_search
def decode(
    model: Model,
    *,
    data: Annotated[Path, typer.Option(help="Data directory to decode.")],
    out: Annotated[Path, typer.Option(help="Folder for text, words.ctm and decode.json.")],
    streaming: Annotated[bool, typer.Option(help="Feed each utterance in pieces, as if live.")] = False,
    chunk_ms: Annotated[float | None, typer.Option(min=1, show_default="160", help="Size of the pieces.")] = None,
    streams: Annotated[int | None, typer.Option(min=1, show_default="16", help="Utterances streamed at once.")] = None,
    aligned: Annotated[
        Path | None, typer.Option(help="words.ctm of `audiorec align`: when the words are said.")
    ] = None,
    head: Head = None,
    latency_ms: Latency = None,
    language: Language = None,
    threads: Threads = None,
    device: Device = "cpu",
    runtime: Runtime = "auto",
    allow_pipes: AllowPipes = False,
    search: dict[str, Any],
) -> None:
    """Decode a data directory, offline or streamed."""
    from audiorec.evaluation.decode import decode
    from audiorec.live.base import AT_ONCE

    if chunk_ms is not None and not streaming:
        raise ConfigError("--chunk-ms is the size of streamed pieces: add --streaming")
    if streams is not None and not streaming:
        raise ConfigError("--streams is the number of utterances streamed at once: add --streaming")
    if aligned and not streaming:
        raise ConfigError("--aligned measures the delay of streamed words: add --streaming")
    recognizer = load_recognizer(model, device, head, search, latency_ms, threads, runtime, language=language)
    record = model / "training.json"  # a run folder has one, a model directory alone does not
    facts = json.loads(record.read_text()) if record.exists() else {}
    facts["command"] = " ".join(["audiorec", *sys.argv[1:]])
    facts["data"] = str(data)
    facts["normalize"] = recognizer.normalize.model_dump()
    told = getattr(recognizer, "model", None) or recognizer.export
    if told.look_ahead_ms is not None:
        facts["latency_ms"] = told.look_ahead_ms
    if recognizer.languages:
        facts["language"] = told.language
    chunk = (chunk_ms or 160.0) if streaming else None
    summary = decode(recognizer, data, out, chunk, facts, streams or AT_ONCE, allow_pipes, aligned)
    factor = summary["decode_seconds"] / max(summary["audio_seconds"], 1e-9)
    print(f"{out}: {summary['audio_seconds']:.1f} s of audio, real-time factor {factor:.3f}")


@app.command()
@with_search
def tune(
    model: Model,
    settings: Annotated[
        list[str] | None, typer.Argument(help="What to try, `word_bonus=-1,0,1`; else the usual values of all.")
    ] = None,
    *,
    data: Annotated[Path, typer.Option(help="Data directory with texts: dev, never the test set.")],
    utterances: Annotated[int | None, typer.Option(min=1, show_default="all", help="How many of it to decode.")] = None,
    head: Head = None,
    latency_ms: Latency = None,
    language: Language = None,
    threads: Threads = None,
    device: Device = "cpu",
    search: dict[str, Any],
) -> None:
    """Find the weights of n-grams and the bonus of words with which a beam makes the fewest errors."""
    from audiorec.evaluation.tune import ranges, tune

    given = {}
    for setting in settings or []:
        key, _, values = setting.partition("=")
        try:
            given[key] = [float(value) for value in values.split(",")]
        except ValueError:
            raise ConfigError(f"tune: {setting!r}: write it as key=value,value") from None
    recognizer = load_recognizer(model, device, head, search, latency_ms, threads, "torch", language=language)
    tried = ranges(recognizer.search_config, given)
    trials = []
    for trial in tune(recognizer, data, recognizer.normalize, tried, utterances):
        trials.append(trial)
        print(f"WER {100 * trial.wer:.2f} %: {_options(trial.setting)}", flush=True)
    best = min(trials, key=lambda trial: trial.wer)
    print(f"best of {len(trials)}: {_options(best.setting)}: WER {100 * best.wer:.2f} %")


def _options(setting: dict[str, float]) -> str:
    return " ".join(f"--{key.replace('_', '-')} {value:g}" for key, value in setting.items())


@app.command()
def align(
    model: Model,
    *,
    data: Annotated[Path, typer.Option(help="Data directory with texts.")],
    out: Annotated[Path, typer.Option(help="Folder for tokens.ctm, words.ctm and align.json.")],
    head: Head = None,
    device: Device = "cpu",
    allow_pipes: AllowPipes = False,
) -> None:
    """Find when each token and word of a data directory begins and ends."""
    from audiorec.evaluation.align import align
    from audiorec.models import find_device

    summary = align(model, data, out, head, find_device(device), allow_pipes)
    for name, reason in summary["left_out"].items():
        print(f"{name}: left out: {reason}", file=sys.stderr)
    print(f"{out}: {summary['utterances']} utterances aligned, {len(summary['left_out'])} left out")


@app.command()
@with_search
def mic(
    model: Model,
    *,
    file: Annotated[Path | None, typer.Option(help="Play this recording as if it were live.")] = None,
    speed: Annotated[float, typer.Option(min=0, help="With --file: 1 is live, 0 as fast as can be.")] = 1.0,
    device: Annotated[str | None, typer.Option(help="Microphone: its number or part of its name.")] = None,
    list_devices: Annotated[bool, typer.Option("--list-devices", help="Name the microphones and end.")] = False,
    head: Head = None,
    latency_ms: Latency = None,
    language: Language = None,
    threads: Threads = None,
    runtime: Runtime = "auto",
    search: dict[str, Any],
) -> None:
    """Words of the microphone as they come; Ctrl-C ends."""
    from itertools import chain

    from audiorec.serving.mic import Microphone, as_if_live, microphones, show

    if list_devices:
        print("\n".join(microphones()) or "no microphone")
        return
    recognizer = load_recognizer(model, "cpu", head, search, latency_ms, threads, runtime, language=language)
    if file:
        pieces = as_if_live(file, speed)
        first, rate = next(pieces)
        print(f"playing {file}, Ctrl-C ends", file=sys.stderr, flush=True)
        show(recognizer, chain([first], (samples for samples, _ in pieces)), rate)
        return
    rate = recognizer.sample_rate
    microphone = Microphone(rate, int(device) if device and device.isdigit() else device)
    print("listening, Ctrl-C ends", file=sys.stderr, flush=True)
    show(recognizer, microphone, rate)
    if loss := microphone.loss():
        print(f"warning: {loss}", file=sys.stderr)
