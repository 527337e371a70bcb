"""``export_onnx``: a model as a folder of ONNX graphs that a live stream calls: begin, step, end, short, and a head's parts."""

import copy
import shutil
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from audiorec import __version__
from audiorec.audio.logmel import LogMel
from audiorec.audio.nemo import NemoMel
from audiorec.config import dump_yaml
from audiorec.encoders.prompt import LanguagePrompt
from audiorec.encoders.rnn import Gru, Lstm
from audiorec.encoders.stack import PreNorm
from audiorec.encoders.subsampling import Strided
from audiorec.errors import UserError
from audiorec.export.check import Exported, check
from audiorec.export.examples import StreamParts, TransducerParts, stream_parts, transducer_parts
from audiorec.export.graphs import Layout
from audiorec.export.readme import readme
from audiorec.export.trace import holds, trace
from audiorec.export.weights import SharedWeights, save_graphs
from audiorec.files import replacing_folder, write_text
from audiorec.models import AsrModel, ModelConfig, find_model, load_model
from audiorec.models.classify import ClassifyHead
from audiorec.models.frames import FramesHead
from audiorec.models.heads import CtcHead
from audiorec.models.transducer import TransducerHead
from audiorec.runtime.folder import suffix
from audiorec.search import TransducerGreedySearch
from audiorec.search.priors import PRIORS
from audiorec.streaming import Pointwise, Sequential, StreamingModule
from audiorec.text import Tokenizer
from audiorec.transcript.delays import TIMES

FORMAT, SETTINGS = 1, "export.yaml"
Latencies = float | Sequence[float] | Literal["all"] | None  # the first is the export's default; all: its model's is
# What export.yaml says of each of several latencies.
_OF_LATENCY = "look_ahead_ms", "latency_ms", "first_feed", "period", "steps", "state"
# Numbers of periods of a step that have a graph each, where one graph cannot serve all.
SIZES = 1, 2, 4, 8
# Modules that compute the same whatever the number of frames. A loop over frames, or attention's windows, do not.
_ANY_NUMBER = LogMel, NemoMel, Sequential, Strided, Pointwise, PreNorm, Lstm, Gru, LanguagePrompt


def export_onnx(
    path: Path | str,
    out: Path | str,
    head: str | None = None,
    latency_ms: Latencies = None,
    language: str | None = None,
) -> dict[str, Any]:
    """Export the model, or run, at ``path`` to the folder ``out``, whole or not at all; what ``export.yaml`` there says.

    ``latency_ms`` may be several, or all that the model has: ``at_latency`` of the export chooses among them, weights lie there
    once. Before it takes its place the export is streamed by onnxruntime and held to law 7. Raises UserError for a model that
    cannot stream, a head that no runtime has, and a folder that exists and is no export.
    """
    opened = open_views(path, out, head, latency_ms, language)
    with replacing_folder(out) as aside:
        return write_checked(aside, path, *opened)


def open_model(
    path: Path | str, out: Path | str, head: str | None, latency_ms: float | None, language: str | None = None
) -> tuple[AsrModel, str, Tokenizer, ModelConfig]:
    """As ``open_views``, of one latency."""
    (model,), name, tokenizer, config = open_views(path, out, head, latency_ms, language)
    return model, name, tokenizer, config


def open_views(
    path: Path | str, out: Path | str, head: str | None, latency_ms: Latencies, language: str | None = None
) -> tuple[list[AsrModel], str, Tokenizer, ModelConfig]:
    """The model as far as the head reads it, at each latency, the head's name, the tokenizer, the config: of what can be
    exported to ``out``.

    Raises UserError for what cannot, before any work.
    """
    model, tokenizer, config = load_model(path)
    out = Path(out)
    if out.exists() and not (out / SETTINGS).is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out}: exists and is no export; give another --out, or remove it")
    name = head or next(iter(model.heads))
    model = model.exit(head)
    if language is not None:
        model = model.in_language(language)
    views = _at(model, latency_ms)
    for view in views:
        refuse(view, name)
    for library in ("onnx", "onnxscript", "onnxruntime"):
        import_module(library)  # what is missing is told before the work
    if not hasattr(torch.onnx, "ops"):
        raise UserError(f"export: needs torch 2.8 or later, this is {torch.__version__}; pip install -U torch")
    return views, name, tokenizer, config


def _at(model: AsrModel, latency_ms: Latencies) -> list[AsrModel]:
    """Views of the model at these latencies, each once."""
    if isinstance(latency_ms, str):
        streamed = [ms for ms in model.latencies if ms != float("inf")]
        latency_ms = sorted(streamed, key=lambda ms: ms != model.look_ahead_ms) or None
    if latency_ms is None:
        return [model]
    several: Sequence[float] = [latency_ms] if isinstance(latency_ms, (int, float)) else latency_ms
    return [model.at_latency(ms) for ms in dict.fromkeys(several)]


def write_checked(
    folder: Path, path: Path | str, views: Sequence[AsrModel], name: str, tokenizer: Tokenizer, config: ModelConfig
) -> dict[str, Any]:
    """As ``write_export``, with the delays and priors measured of the model at ``path``, and each latency held to law 7."""
    views = [view.eval() for view in views]
    settings = write_export(folder, views[0], name, tokenizer, config, views[1:])
    for measured in (TIMES, PRIORS):
        if (file := find_model(path) / measured).is_file():
            shutil.copyfile(file, folder / measured)
    settings["error"] = max(check(Exported(folder, look_ahead_ms=view.look_ahead_ms), view, name) for view in views)
    return settings


def write_export(
    folder: Path,
    model: AsrModel,
    name: str,
    tokenizer: Tokenizer,
    config: ModelConfig,
    others: Sequence[AsrModel] = (),
) -> dict[str, Any]:
    """Write all files of the export of this head of ``model``, which is in evaluation mode and ends where the head reads.

    ``others`` are its views at other latencies.
    """
    head, weights, found = model.head(name), SharedWeights(folder), []
    for view in (model, *others):
        parts = stream_parts(view, head)
        graphs = dict(_encoder_graphs(view, parts))
        settings: dict[str, Any] = {
            "format": FORMAT,
            "kind": "onnx",
            "producer": f"audiorec {__version__}",
            "opset": graphs["begin"].opset_imports[""],
            "int8": False,
            "steps": None if "step" in graphs else list(SIZES),
            **facts_of(view, name, parts.layout, tokenizer, config),
        }
        for graph in (graph for name, graph in graphs.items() if name.startswith("step")):
            scalars = {key: value for key, value in settings.items() if isinstance(value, (str, int, float))}
            graph.metadata_props.update({key: str(value) for key, value in scalars.items()})
        end = suffix(view.look_ahead_ms, model.look_ahead_ms)
        weights.save({f"{graph}{end}": traced for graph, traced in graphs.items()})
        found.append(settings)
    settings = found[0]
    if others:
        settings["latencies"] = copy.deepcopy([{key: one[key] for key in _OF_LATENCY} for one in found])
    if isinstance(head, TransducerHead):
        own = transducer_parts(head)
        save_graphs(folder, {"predictor": trace(*own.predictor), "joiner": trace(*own.joiner)})
        settings |= write_first_history(folder, head, own, settings["head"])
    write_text(folder / SETTINGS, dump_yaml(settings))
    write_text(folder / "README.md", readme(settings))
    tokenizer.save(folder)
    return settings


def facts_of(model: AsrModel, name: str, layout: Layout, tokenizer: Tokenizer, config: ModelConfig) -> dict[str, Any]:
    """What ``export.yaml`` says of a model and its head, whatever runs it."""
    return {
        "sample_rate": model.sample_rate,
        "first_feed": model.first_feed,
        "period": model.period,
        "stride": model.stride,
        "frame_seconds": model.frame_seconds,
        "latency_ms": model.latency_ms,
        "look_ahead_ms": model.look_ahead_ms,
        "language": model.language,
        "vocabulary": tokenizer.size,
        "head": {"name": name, "kind": kind_of(model.head(name)), **rules_of(model.head(name))},
        "normalize": config.tokenizer.normalize.model_dump(),
        "state": _listed(layout),
    }


def kind_of(head: nn.Module) -> str:
    """What ``export.yaml`` calls a head: ctc, classify, frames, rnnt or tdt."""
    if isinstance(head, TransducerHead):
        return "tdt" if head.topology.durations else "rnnt"
    return {ClassifyHead: "classify", FramesHead: "frames"}.get(type(head), "ctc")


def rules_of(head: nn.Module) -> dict[str, Any]:
    """What it says of a frames head besides."""
    return {"rules": head.rules._asdict()} if isinstance(head, FramesHead) else {}


def _encoder_graphs(model: AsrModel, parts: StreamParts) -> Iterator[tuple[str, Any]]:
    yield "begin", trace(*parts.begin)
    yield from _steps(model, parts)
    yield "end", trace(*parts.end)
    yield "short", trace(*parts.short)


def _steps(model: AsrModel, parts: StreamParts) -> Iterator[tuple[str, Any]]:
    """``step`` for any number of periods, or where the encoder's arithmetic depends on that number one of each of SIZES."""
    if all(isinstance(one, _ANY_NUMBER) for one in model.modules() if isinstance(one, StreamingModule)):
        part, arguments, (batch, *states) = parts.step(8)
        graph = trace(part, arguments, [{**batch, 1: model.period * torch.export.Dim("periods")}, *states])
        if all(holds(part, graph, parts.step(k)[1]) for k in (1, 3, 40)):
            yield "step", graph
            return
    for k in SIZES:
        yield f"step_{k}", trace(*parts.step(k))


def write_first_history(
    folder: Path, head: TransducerHead, parts: TransducerParts, settings: dict[str, Any]
) -> dict[str, Any]:
    """Write predictor.npz and add to the head's ``settings``; what export.yaml says besides."""
    arrays: dict[str, Any] = {name: leaf.numpy() for name, leaf in parts.begin.items()}
    np.savez(folder / "predictor.npz", **arrays)
    durations, search = list(head.topology.durations), head.search()
    assert isinstance(search, TransducerGreedySearch)
    settings["max_symbols"] = search.max_symbols
    if durations:
        settings["durations"] = durations
    return {"predictor_state": _listed(parts.predictor[0].layout)}


def _listed(layout: Layout) -> list[dict[str, Any]]:
    return [{"name": leaf.name, "shape": list(leaf.shape), "dtype": leaf.dtype} for leaf in layout.leaves]


def refuse(model: AsrModel, name: str) -> None:
    """Raise UserError for what cannot be exported."""
    if not model.streams:
        choices = [f"{ms:g}" for ms in model.latencies if ms != float("inf")]
        instead = (
            f"choose --latency-ms {' or '.join(choices)}"
            if choices
            else (
                "train it with a chunk and look-ahead (encoder.chunk=16 encoder.look_ahead=8), or an encoder that streams, such "
                "as lstm"
            )
        )
        raise UserError(f"export: this model sees whole utterances and cannot stream; {instead}")
    if not isinstance(model.head(name), (CtcHead, ClassifyHead, FramesHead, TransducerHead)):
        raise UserError(
            f"export: no runtime has the search of head {name!r}; choose a ctc, transducer, classify or frames head by "
            "--head, if the model has one"
        )
