"""`audiorec export`: a model for other runtimes."""

from pathlib import Path
from typing import Annotated

import typer

from audiorec.cli.app import Head, Latency, Model, app
from audiorec.errors import ConfigError

FORMATS = "onnx", "sherpa-onnx"


@app.command()
def export(
    model: Model,
    *,
    format: Annotated[str, typer.Option("--format", help="onnx.")] = "onnx",
    out: Annotated[
        Path | None, typer.Option(help="Folder of the export; else RUN/onnx of a run, MODEL-onnx of a model directory.")
    ] = None,
    head: Head = None,
    latency_ms: Latency = None,
    int8: Annotated[bool, typer.Option("--int8", help="Weights of 8 bits (planned).")] = False,
) -> None:
    """Export a model as ONNX graphs that stream without torch, checked against torch."""
    if format not in FORMATS:
        raise ConfigError(f"--format {format}: must be onnx")
    if format == "sherpa-onnx":
        raise ConfigError("--format sherpa-onnx: planned, not there yet; --format onnx is")
    if int8:
        raise ConfigError("--int8: planned, not there yet; leave it out for float32")

    from audiorec.export import export_onnx
    from audiorec.models import find_model

    if out is None:
        found = find_model(model)
        out = found.with_name("onnx") if found != model else Path(f"{model}-onnx")
    settings = export_onnx(model, out, head, latency_ms)
    size = sum(file.stat().st_size for file in out.iterdir())
    print(f"{out}: {size / 1e6:.1f} MB, streamed by onnxruntime within {settings['error']:.0e} of torch")
