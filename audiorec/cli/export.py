"""`audiorec export`: a model for other runtimes."""

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from audiorec.cli.app import Head, Language, Model, app
from audiorec.errors import ConfigError


class Format(str, Enum):
    """Who runs the export."""

    onnx = "onnx"
    sherpa_onnx = "sherpa-onnx"
    pt2 = "pt2"


@app.command()
def export(
    model: Model,
    *,
    format: Annotated[
        Format,
        typer.Option(
            "--format", help="onnx: for audiorec without torch; sherpa-onnx: for that package; pt2: torch.export's."
        ),
    ] = Format.onnx,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the export; else RUN/FORMAT of a run, MODEL-FORMAT of a model directory (onnx-int8 of --int8)."
        ),
    ] = None,
    head: Head = None,
    latency_ms: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MS|all",
            help="Look-ahead of the attention. Several, or all, share their weights; the first is the default of the export.",
        ),
    ] = None,
    language: Language = None,
    int8: Annotated[bool, typer.Option("--int8", help="Weights of 8 bits; says what they cost.")] = False,
    int8_keep: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="With --int8: a layer that stays float32; may be repeated.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="With --int8: data directory on which to compare words and speed with float32.")
    ] = None,
) -> None:
    """Export a model as ONNX graphs that stream without torch, checked against torch."""
    if int8 and format is not Format.onnx:
        raise ConfigError(
            f"--int8: not with --format {format.value}, whose weights stay float32; --format onnx takes it"
        )
    for option, given in (("--int8-keep", int8_keep), ("--data", data)):
        if given and not int8:
            raise ConfigError(f"{option}: has no meaning without --int8; add it")

    latencies = _latencies(latency_ms)
    if format is not Format.onnx and not (latencies is None or isinstance(latencies, float)):
        raise ConfigError(f"--latency-ms: --format {format.value} holds one; --format onnx takes several")

    from audiorec.export import export_int8, export_onnx, export_pt2, export_sherpa
    from audiorec.models import find_model

    if out is None:
        found, suffix = find_model(model), format.value + ("-int8" if int8 else "")
        out = found.with_name(suffix) if found != model else Path(f"{model}-{suffix}")
    if int8:
        settings, measured = export_int8(model, out, head, latencies, int8_keep or (), data, language)
        print(f"{out}: streamed by onnxruntime within {settings['error']:.0e} of torch", *measured, sep="\n")
        if changed := measured[-1].changed:
            print(
                f"changed: {', '.join(changed[:10])}{', …' if len(changed) > 10 else ''}; --int8-keep NAME keeps a layer"
            )
        return
    write = {Format.onnx: export_onnx, Format.sherpa_onnx: export_sherpa, Format.pt2: export_pt2}[format]
    by = "torch.export's programs" if format is Format.pt2 else "onnxruntime"
    settings = write(model, out, head, latencies, language)
    size = sum(file.stat().st_size for file in out.iterdir())
    print(f"{out}: {size / 1e6:.1f} MB, streamed by {by} within {settings['error']:.0e} of torch")
    if settings.get("tail_seconds"):
        print(
            f"sherpa-onnx has no flush: give {settings['tail_seconds']:g} s of silence at the end; {out}/README.md shows how"
        )
    if settings.get("silence_before"):
        silence = f"{1000 * settings['silence_before']:g} ms of silence"
        print(f"its features are NeMo's only of samples as 16-bit numbers that begin with {silence}")
    if settings.get("max_symbols", 1) > 1 and settings.get("interface") == "lstm":
        print("its searches emit one token a frame at most, audiorec's with this model more: words may differ there")


def _latencies(given: list[str] | None) -> Any:
    """What `--latency-ms` gave: milliseconds, a list of them, all, or None."""
    if not given or given == ["all"]:
        return given and "all"
    try:
        several = [float(ms) for ms in given]
    except ValueError as error:
        raise ConfigError(f"--latency-ms: must be milliseconds, repeated for several, or all alone: {error}") from None
    return several if len(several) > 1 else several[0]
