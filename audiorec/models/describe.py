"""A model described in words and tables: ``audiorec info``."""

import re
from typing import NamedTuple

import torch

from audiorec.models.asr import AsrModel, parameter_count
from audiorec.models.config import ModelConfig
from audiorec.models.cost import live_multiply_adds, multiply_adds, offline_multiply_adds
from audiorec.streaming import Sequential, State, leaves, state_bytes
from audiorec.text import Tokenizer

# The utterance that multiply-adds are counted on where a model cannot stream.
WHOLE_SECONDS = 10


class Table(NamedTuple):
    """The first column is text; the others hold numbers, aligned to the right."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


class Part(NamedTuple):
    """A part of a model, and its cost for each second of audio."""

    name: str
    parameters: int
    multiply_adds: float
    latency_ms: float
    state_bytes: int


def describe(model: AsrModel, tokenizer: Tokenizer | None, config: ModelConfig) -> tuple[dict[str, str], list[Table]]:
    """Facts about a model (name → value), and tables of its parts, latencies and state.

    Without a tokenizer, as for a recipe, the model must have been made for ``vocabulary(config)`` tokens.
    """
    features = config.features
    # Contexts have a table of their own.
    options = ", ".join(f"{k} {v}" for k, v in config.encoder.model_dump(exclude={"kind", "contexts"}).items())
    facts = {
        "encoder": f"{config.encoder.kind} ({options})",
        "heads": ", ".join(config.heads),
        "tokens": _tokens(tokenizer, config),
        "features": f"{features.kind}, {model.features.output_dim} bins at {features.sample_rate} Hz",
        "output frame": f"{1000 * model.frame_seconds:g} ms",
        "latency": f"{latency(model)} from the start of a frame, features and subsampling included"
        + ("" if model.streams else ": it cannot stream"),
    }
    tables = [_parts_table(model)]
    if model.contexts:
        tables.append(_latencies_table(model))
    if model.streams:
        searches = {kind: head.search().initial_state(1) for kind, head in model.heads.items()}
        tables.append(_state_table({**model.initial_state(1, ragged=True), **searches}))
    return facts, tables


def latency(model: AsrModel) -> str:
    return f"{model.latency_ms:g} ms" if model.streams else "the whole utterance"


def vocabulary(config: ModelConfig) -> int:
    """The tokens of a model that has no tokenizer yet: as many as its config says, else 500."""
    return config.tokenizer.size or 500


def parts(model: AsrModel) -> list[Part]:
    """Features, subsampling, the rest of the encoder, and the heads. All their figures add up, latencies too."""
    features, encoder = model.features, model.encoder
    chains = {"features": Sequential(features)}
    members = dict(encoder.members) if isinstance(encoder, Sequential) else {}
    if "subsampling" in members:  # a plugin's encoder may do without
        chains["subsampling"] = Sequential(features=features, encoder=members["subsampling"])
    chains["encoder"] = Sequential(features=features, encoder=encoder)

    rows, before = [], Part("", 0, 0.0, 0.0, 0)
    for name, chain in chains.items():  # each chain is the one before and one part more
        whole = _whole(name, chain, model)
        rows.append(Part(name, *(a - b for a, b in zip(whole[1:], before[1:], strict=True))))
        before = whole
    frame = torch.zeros(1, 1, model.output_dim, device="meta")
    for kind, head in model.heads.items():
        work = multiply_adds(head, lambda twin: twin.score_frames(frame)) / model.frame_seconds
        size = state_bytes(head.search().initial_state(1)) if model.streams else 0
        rows.append(Part(kind, parameter_count(head), work, 0.0, size))
    return rows


def _whole(name: str, chain: Sequential, model: AsrModel) -> Part:
    """The cost of a chain that begins with samples: of a live stream, or where the model cannot stream, of a recording."""
    rate = model.sample_rate
    if model.streams:
        work, size = rate * live_multiply_adds(chain), state_bytes(chain.initial_state(1, ragged=True))
    else:
        work, size = rate * offline_multiply_adds(chain, WHOLE_SECONDS * rate), 0
    return Part(name, parameter_count(chain), work, 1000 * (chain.lookahead + 1) / rate, size)


def _tokens(tokenizer: Tokenizer | None, config: ModelConfig) -> str:
    if tokenizer:
        return f"{tokenizer.kind}, {tokenizer.size} with blank"
    assumed = "" if config.tokenizer.size else " assumed, the data decide: tokenizer.size=N sets another number"
    return f"{config.tokenizer.kind}, {vocabulary(config)} with blank{assumed}"


def _parts_table(model: AsrModel) -> Table:
    source = "a live stream" if model.streams else f"a recording of {WHOLE_SECONDS} s"
    rows = parts(model)
    total = Part("all", *map(sum, zip(*(part[1:] for part in rows), strict=True)))
    cells = [
        (p.name, f"{p.parameters:,}", _millions(p.multiply_adds), f"{p.latency_ms:g}", f"{p.state_bytes:,}")
        for p in [*rows, total]
    ]
    columns = "part", "parameters", "multiply-adds/s", "latency, ms", "state, bytes"
    return Table(f"What {source} takes", columns, cells)


def _latencies_table(model: AsrModel) -> Table:
    rows = []
    for ms, context in model.contexts.items():
        view = model.at_latency(ms)
        whole = _whole("", view, view)
        size = f"{whole.state_bytes:,}" if view.streams else "cannot stream"
        rows.append((f"{ms:g}", str(context), f"{whole.latency_ms:g}", _millions(whole.multiply_adds), size))
    columns = "look-ahead, ms", "context, frames", "latency, ms", "multiply-adds/s", "state, bytes"
    return Table("Latencies it was trained for (--latency-ms takes the look-ahead), without the heads", columns, rows)


def _state_table(state: State) -> Table:
    """One row for all leaves whose names differ in a number alone: they belong to layers of one kind."""
    groups: dict[tuple, list[str]] = {}
    for name, leaf in leaves(state):
        key = (
            re.sub(r"\d+", "*", name),
            tuple(leaf.shape[1:]),
            str(leaf.dtype).removeprefix("torch."),
            state_bytes({"": leaf}),
        )
        groups.setdefault(key, []).append(name)
    rows = []
    for (pattern, shape, dtype, size), names in groups.items():
        name = pattern if len(names) > 1 else names[0]
        rows.append((name, str(len(names)), " × ".join(map(str, shape)) or "1", dtype, f"{size * len(names):,}"))
    return Table("State of a stream", ("leaf", "times", "shape", "type", "bytes"), rows)


def _millions(work: float) -> str:
    return f"{work / 1e6:.1f} M"
