"""A model described in words and tables: ``audiorec info``."""

import re
from typing import NamedTuple

import torch

from audiorec.models.asr import LIVE_RATES, AsrModel, parameter_count
from audiorec.models.config import ModelConfig
from audiorec.models.cost import live_multiply_adds, multiply_adds, offline_multiply_adds
from audiorec.models.heads import Head
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
        "heads": heads_text(config),
        "tokens": _tokens(tokenizer, config),
        "features": f"{features.kind}, {model.features.output_dim} bins at {features.sample_rate} Hz",
        "output frame": f"{1000 * model.frame_seconds:g} ms",
        "latency": latency(model) + ("" if model.exit().streams else ": it cannot stream"),
    }
    tables = [_parts_table(model)]
    if any(model.taps.values()):
        tables.append(_exits_table(model))
    if model.exit().contexts:
        tables.append(_latencies_table(model.exit()))
    if model.languages:
        facts["languages"] = f"{', '.join(model.languages)}; {model.language} unless --language names another"
    if model.streams:
        searches = {kind: head.search().initial_state(1) for kind, head in model.heads.items()}
        tables.append(_state_table({**model.initial_state(1, ragged=True), **searches}))
    return facts, tables


def heads_text(config: ModelConfig) -> str:
    """The heads by name, with their kind where that is not the name, and the layers that they read."""
    texts = []
    for name, head in config.heads.items():
        at = getattr(head, "at", None)
        texts.append(name + (f" ({head.kind})" if head.kind != name else "") + (f" at {at}" if at else ""))
    return ", ".join(texts)


def latency(model: AsrModel) -> str:
    """From the start of a frame until the first head, which decodes unless another is named, can read it."""
    model = model.exit()
    if not model.streams:
        return "the whole utterance"
    *rates, last = (f"{rate / 1000:g}" for rate in LIVE_RATES if rate != model.sample_rate)
    return (
        f"{model.latency_ms:g} ms from the start of a frame, features and subsampling included, and up to "
        f"{model.resampling_ms:.2g} ms more where the audio is resampled (from {', '.join(rates)} or {last} kHz)"
    )


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
    if model.prompt is not None:
        chains["prompt"] = Sequential(features=features, encoder=encoder, prompt=model.prompt)

    rows, before = [], Part("", 0, 0.0, 0.0, 0)
    for name, chain in chains.items():  # each chain is the one before and one part more
        whole = _whole(name, chain, model)
        rows.append(Part(name, *(a - b for a, b in zip(whole[1:], before[1:], strict=True))))
        before = whole
    for name, head in model.heads.items():
        size = _search_bytes(head) if model.streams else 0
        rows.append(Part(name, parameter_count(head), _head_work(head, model.exit(name)), 0.0, size))
    return rows


def _head_work(head: Head, model: AsrModel) -> float:
    """Multiply-adds a second of a head that reads the end of ``model``."""
    frame = torch.zeros(1, 1, model.output_dim, device="meta")
    return multiply_adds(head, lambda twin: twin.score_frames(frame)) / model.frame_seconds


def _search_bytes(head: Head) -> int:
    return state_bytes(head.search().initial_state(1))


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


def _exits_table(model: AsrModel) -> Table:
    """What a stream takes that is decoded by one head: without later layers and other heads."""
    rows = []
    for name, layer in model.taps.items():
        view, head = model.exit(name), model.head(name)
        whole = _whole("", view, view)
        work = whole.multiply_adds + _head_work(head, view)
        size = f"{whole.state_bytes + _search_bytes(head):,}" if view.streams else "cannot stream"
        count = parameter_count(view.features) + parameter_count(view.encoder) + parameter_count(head)
        rows.append((name, layer or "the end", f"{count:,}", _millions(work), f"{whole.latency_ms:g}", size))
    columns = "head", "reads", "parameters", "multiply-adds/s", "latency, ms", "state, bytes"
    return Table("What a stream takes by the head that decodes it (--head)", columns, rows)


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
