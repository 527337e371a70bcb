"""Commands that use models: decode, align, transcribe, mic."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from audiorec.cli.app import Device, Model, app


@app.command()
def decode(
    model: Model,
    *,
    data: Annotated[Path, typer.Option(help="Data directory to decode.")],
    out: Annotated[Path, typer.Option(help="Folder for text, words.ctm and decode.json.")],
    streaming: Annotated[bool, typer.Option(help="Feed each utterance in pieces, as if live.")] = False,
    chunk_ms: Annotated[float, typer.Option(min=1, help="Size of the pieces.")] = 160.0,
    head: Annotated[str | None, typer.Option(help="The head that decodes; else the first.")] = None,
    latency_ms: Annotated[float | None, typer.Option(min=0, help="Look-ahead of the attention.")] = None,
    search: Annotated[str, typer.Option(help="greedy or beam.")] = "greedy",
    beam: Annotated[int, typer.Option(min=1, help="Hypotheses of the beam.")] = 4,
    lm: Annotated[Path | None, typer.Option(help="ARPA n-gram over the tokenizer's pieces; needs a beam.")] = None,
    lm_weight: Annotated[float, typer.Option(min=0, help="Weight of the n-gram.")] = 0.3,
    lm_bonus: Annotated[float, typer.Option(help="Bonus of each token: an n-gram makes long texts unlikely.")] = 0.0,
    hotwords: Annotated[Path | None, typer.Option(help="Phrases, one a line, `phrase :2.5`; needs a beam.")] = None,
    hotwords_score: Annotated[float, typer.Option(help="Bonus of each token of a phrase.")] = 1.5,
    skip_blank: Annotated[float | None, typer.Option(help="Skip frames CTC finds blank, of a hybrid.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads to compute with.")] = None,
    device: Device = "cpu",
) -> None:
    """Decode a data directory, offline or streamed."""
    import torch

    from audiorec.evaluation.decode import decode
    from audiorec.models import find_model, load_model_config
    from audiorec.recognizer import load

    if threads:
        torch.set_num_threads(threads)
    settings = {"kind": search, "beam": beam, "lm": lm, "lm_weight": lm_weight, "skip_blank": skip_blank}
    settings |= {"lm_bonus": lm_bonus, "hotwords": hotwords, "hotwords_score": hotwords_score}
    recognizer = load(model, device, head, settings)
    took = model / "training.json"  # a run folder has one, a model directory alone does not
    about = json.loads(took.read_text()) if took.exists() else {}
    about["command"] = " ".join(["audiorec", *sys.argv[1:]])
    about["normalize"] = load_model_config(find_model(model) / "config.yaml").tokenizer.normalize.model_dump()
    if latency_ms is not None:
        recognizer = recognizer.at_latency(latency_ms)
    if recognizer.model.latencies:
        about["latency_ms"] = recognizer.model.look_ahead_ms
    summary = decode(recognizer, data, out, chunk_ms if streaming else None, about)
    factor = summary["decode_seconds"] / max(summary["audio_seconds"], 1e-9)
    print(f"{out}: {summary['audio_seconds']:.1f} s of audio, real-time factor {factor:.3f}")


@app.command()
def align(
    model: Model,
    *,
    data: Annotated[Path, typer.Option(help="Data directory with texts.")],
    out: Annotated[Path, typer.Option(help="Folder for tokens.ctm, words.ctm and align.json.")],
    head: Annotated[str | None, typer.Option(help="The head that aligns; else the first.")] = None,
    device: Device = "cpu",
) -> None:
    """Find when each token and word of a data directory was said."""
    from audiorec.evaluation.align import align

    summary = align(model, data, out, head, device)
    for name, reason in summary["left_out"].items():
        print(f"{name}: left out: {reason}", file=sys.stderr)
    print(f"{out}: {summary['utterances']} utterances aligned, {len(summary['left_out'])} left out")


@app.command()
def transcribe(
    model: Model, files: Annotated[list[Path], typer.Argument(help="Audio files.")], device: Device = "cpu"
) -> None:
    """Print the words of recordings, a line each."""
    from audiorec.recognizer import load

    recognizer = load(model, device)
    for file in files:
        text = recognizer.transcribe(file).text
        print(text if len(files) == 1 else f"{file}\t{text}", flush=True)


@app.command()
def mic(
    model: Model,
    file: Annotated[Path | None, typer.Option(help="Play this recording as if it were live.")] = None,
    speed: Annotated[float, typer.Option(min=0, help="With --file: 1 is live, 0 as fast as can be.")] = 1.0,
    device: Annotated[str | None, typer.Option(help="Microphone: its number or part of its name.")] = None,
) -> None:
    """Words of the microphone as they are spoken; Ctrl-C ends."""
    from itertools import chain

    from audiorec.recognizer import load
    from audiorec.serving.mic import as_if_live, microphone, show

    recognizer = load(model)
    if file:
        pieces = as_if_live(file, speed)
        first, rate = next(pieces)
        print(f"playing {file}, Ctrl-C ends", file=sys.stderr, flush=True)
        show(recognizer, chain([first], (samples for samples, _ in pieces)), rate)
    else:
        rate = recognizer.sample_rate
        print("listening, Ctrl-C ends", file=sys.stderr, flush=True)
        show(recognizer, microphone(rate, int(device) if device and device.isdigit() else device), rate)
