"""``export_int8``: an export whose weights are bytes, and what that costs in words and gains in size and speed."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from audiorec.config import dump_yaml, read_yaml
from audiorec.errors import ConfigError, UserError
from audiorec.export.check import Exported, noise, relative_error, short_stream_error
from audiorec.export.int8 import layers_of, quantise, within
from audiorec.export.onnx import SETTINGS, Latencies, open_views, write_checked
from audiorec.export.readme import readme
from audiorec.export.report import Measured, measure
from audiorec.export.weights import WEIGHTS, SharedWeights, save_graphs
from audiorec.files import replacing_folder, write_text

# Of the largest value: what bytes may cost of a frame, and what a stream's neighbours may. A sum of floats that is reordered may
# round one number of a row to the next byte.
TOLERANCE, NEIGHBOURS = 0.25, 0.02
_APART = "predictor", "joiner"  # graphs that hold their own weights


def export_int8(
    path: Path | str,
    out: Path | str,
    head: str | None = None,
    latency_ms: Latencies = None,
    keep: Sequence[str] = (),
    data: Path | str | None = None,
    language: str | None = None,
) -> tuple[dict[str, Any], list[Measured]]:
    """As ``export_onnx``, with weights of 8 bits but in the layers ``keep``; what ``export.yaml`` says, and float32 and int8
    measured: on the data directory ``data``, or their sizes alone.

    Raises ConfigError for a name in ``keep`` that no layer has, and what ``export_onnx`` raises.
    """
    opened = views, name, _, _ = open_views(path, out, head, latency_ms, language)
    with TemporaryDirectory() as temporary, replacing_folder(out) as aside:
        write_checked(floats := Path(temporary), path, *opened)
        settings = quantise_folder(floats, aside, keep)
        settings["error"] = max(check(aside, view, name) for view in views)
        measured = measure({"float32": floats, "int8": aside}, data)
        if data is not None:
            text = "\n".join(f"* {one}" for one in measured)
            write_text(aside / "README.md", f"{readme(settings)}\n## Measured on {Path(data).name}\n\n{text}\n")
    return settings, measured


def quantise_folder(source: Path, folder: Path, keep: Sequence[str] = ()) -> dict[str, Any]:
    """Write the export ``source`` with weights of 8 bits into ``folder``; what ``export.yaml`` there says."""
    import onnx_ir as ir

    settings = {**read_yaml(source / SETTINGS), "int8": True, **({"int8_keep": list(keep)} if keep else {})}
    paths, weights = sorted(source.glob("*.onnx")), SharedWeights(folder)
    layers = list(dict.fromkeys(layer for path in paths for layer in layers_of(ir.load(path))))
    if wrong := [name for name in keep if not any(within(layer, name) for layer in layers)]:
        raise ConfigError(f"--int8-keep {wrong[0]}: no such layer; there are {', '.join(layers)}")
    for path in paths:
        quantise(graph := ir.load(path), keep)
        if "int8" in graph.metadata_props:
            graph.metadata_props["int8"] = "True"
        if path.stem in _APART:
            save_graphs(folder, {path.stem: graph})
        else:
            weights.save({path.stem: graph})
    for path in source.iterdir():
        if path.suffix != ".onnx" and path.name != WEIGHTS:
            shutil.copyfile(path, folder / path.name)
    write_text(folder / SETTINGS, dump_yaml(settings))
    write_text(folder / "README.md", readme(settings))
    return settings


def check(folder: Path, model: Any, name: str) -> float:
    """The largest error of a short stream. Raises UserError where it is no rounding, or where a row depends on its neighbours."""
    exported = Exported(folder, look_ahead_ms=model.look_ahead_ms)
    error = short_stream_error(exported, model, name)
    if not error <= TOLERANCE:
        raise UserError(f"export: int8's frames differ from torch's by {error:.1e} of the largest value; not exported")
    if not (apart := neighbours(exported, 7, [1, 3])) <= NEIGHBOURS:
        raise UserError(
            f"export: int8's frames differ by {apart:.1e} of the largest value between a batch and one row; not exported"
        )
    return error


def neighbours(exported: Exported, rows: int, periods: list[int], seed: int = 0) -> float:
    """The largest difference, over the largest value, of a batch of noises, each of another loudness, from each alone."""
    random = np.random.default_rng(seed)
    sure = exported.settings["first_feed"] + sum(periods) * exported.settings["period"]
    lengths = sure + random.integers(0, exported.settings["period"] + 1, rows)
    samples = noise(random, lengths, np.geomspace(1e-3, 0.3, rows, dtype="f4")[:, None])
    worst = 0.0
    for i, together in enumerate(exported.stream(samples, lengths, periods)):
        (alone,) = exported.stream(samples[i : i + 1, : lengths[i]], lengths[i : i + 1], periods)
        worst = max(worst, relative_error(together, alone))
    return worst
