"""`audiorec export`: a model for other runtimes."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from audiorec.cli.app import Head, Latency, Model, app
from audiorec.errors import ConfigError


class Format(str, Enum):
    """Who runs the export."""

    onnx = "onnx"
    sherpa_onnx = "sherpa-onnx"


@app.command()
def export(
    model: Model,
    *,
    format: Annotated[
        Format, typer.Option("--format", help="onnx: for audiorec without torch; sherpa-onnx: for that package.")
    ] = Format.onnx,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the export; else RUN/FORMAT of a run, MODEL-FORMAT of a model directory."),
    ] = None,
    head: Head = None,
    latency_ms: Latency = None,
    int8: Annotated[bool, typer.Option("--int8", help="Weights of 8 bits (planned).")] = False,
) -> None:
    """Export a model as ONNX graphs that stream without torch, checked against torch."""
    if int8:
        raise ConfigError("--int8: planned, not there yet; leave it out for float32")

    from audiorec.export import export_onnx, export_sherpa
    from audiorec.models import find_model

    if out is None:
        found = find_model(model)
        out = found.with_name(format.value) if found != model else Path(f"{model}-{format.value}")
    write = {Format.onnx: export_onnx, Format.sherpa_onnx: export_sherpa}[format]
    settings = write(model, out, head, latency_ms)
    size = sum(file.stat().st_size for file in out.iterdir())
    print(f"{out}: {size / 1e6:.1f} MB, streamed by onnxruntime within {settings['error']:.0e} of torch")
    if settings.get("tail_seconds"):
        print(
            f"sherpa-onnx has no flush: give {settings['tail_seconds']:g} s of silence at the end; {out}/README.md shows how"
        )
    if settings.get("max_symbols", 1) > 1 and format is Format.sherpa_onnx:
        print("its searches emit one token a frame at most, audiorec's with this model more: words may differ there")
