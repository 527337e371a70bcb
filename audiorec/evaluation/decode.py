"""Decode a data directory, offline or streamed in pieces, into a Kaldi ``text``, word times and figures."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from audiorec.data.kaldi import Recordings, Utterance, read_data_dir
from audiorec.evaluation.ctm import ctm_line
from audiorec.evaluation.folder import whole_folder
from audiorec.progress import progress
from audiorec.search import SearchConfig
from audiorec.streaming import state_bytes

if TYPE_CHECKING:
    from audiorec.recognizer import Recognizer, Result

BATCH_SECONDS = 120.0
TIE = 1e-4  # rounding may decide between two scores of a frame that are closer than this


def decode(
    recognizer: "Recognizer",
    data: Path | str,
    out: Path | str,
    chunk_ms: float | None = None,
    facts: dict | None = None,
) -> dict:
    """Decode every utterance of ``data`` into the folder ``out``: offline in batches, or streamed in ``chunk_ms`` pieces.

    Writes ``text``, ``words.ctm`` and ``decode.json``, all or nothing; returns the content of ``decode.json``, to which
    ``facts`` are added. Raises UserError naming the utterance or file that cannot be decoded.
    """
    from audiorec.models import parameter_count

    utterances = read_data_dir(data, require_text=False)
    recordings = Recordings()
    results: dict[str, Result] = {}
    audio_seconds = decode_seconds = 0.0
    source, transcribe = batches, recognizer.transcribe_batch
    if chunk_ms is not None:
        source, transcribe = _each, lambda rows: [in_pieces(recognizer, row, chunk_ms) for row in rows]
    with progress("decoding", len(utterances)) as advance:
        for names, samples in source(utterances, recordings, recognizer.sample_rate):
            start = time.perf_counter()
            decoded = transcribe(samples)
            decode_seconds += time.perf_counter() - start
            audio_seconds += sum(map(len, samples)) / recognizer.sample_rate
            results |= dict(zip(names, decoded, strict=True))
            advance(len(names))
    model = recognizer.model
    summary = {
        "mode": "offline" if chunk_ms is None else "streamed",
        **({} if chunk_ms is None else {"chunk_ms": chunk_ms}),
        "search": describe_search(recognizer.search_config, recognizer.head),
        "audio_seconds": round(audio_seconds, 3),
        "decode_seconds": round(decode_seconds, 3),
        "parameters": parameter_count(model),
        "algorithmic_latency_ms": round(model.latency_ms, 1) if model.streams else None,
        "resampling_latency_ms": round(model.resampling_ms, 1) if model.streams else None,
        "state_bytes": state_bytes(model.initial_state(1, ragged=True)) if model.streams else None,
        "ties": sorted(name for name, result in results.items() if result.margin < TIE),
        **(facts or {}),
    }
    _write(Path(out), results, summary)
    return summary


def describe_search(config: SearchConfig, head: str | None = None) -> str | None:
    """A search in few words (``beam 4, digits.arpa × 0.3``); None for the greedy one of a model's first head."""
    parts = [f"head {head}"] if head else []
    if config.kind == "beam":
        parts.append(f"beam {config.beam}")
    if config.lm:
        parts.append(f"{config.lm.name} × {config.lm_weight:g}")
        parts += [f"bonus {config.lm_bonus:g}"] if config.lm_bonus else []
    if config.hotwords:
        parts.append(f"hotwords + {config.hotwords_score:g}")
    if config.skip_blank:
        parts.append(f"blanks above {config.skip_blank:g} skipped")
    return ", ".join(parts) or None


def in_pieces(recognizer: "Recognizer", samples: np.ndarray, chunk_ms: float) -> "Result":
    """The result of a stream that gets samples (T,) in pieces of ``chunk_ms`` milliseconds."""
    stream = recognizer.stream()
    size = max(1, round(chunk_ms * recognizer.sample_rate / 1000))
    for start in range(0, len(samples), size):
        stream.accept(samples[start : start + size])
    return stream.finish()


def _each(
    utterances: list[Utterance], recordings: Recordings, rate: int
) -> Iterator[tuple[list[str], list[np.ndarray]]]:
    for utterance in utterances:
        yield [utterance.id], [recordings.samples(utterance, rate)]


def batches(
    utterances: list[Utterance], recordings: Recordings, rate: int
) -> Iterator[tuple[list[str], list[np.ndarray]]]:
    """Ids and samples (T,) of utterances in their order, as many at once as stay below ``BATCH_SECONDS`` with padding."""
    names: list[str] = []
    rows: list[np.ndarray] = []
    for (name,), (samples,) in _each(utterances, recordings, rate):
        longest = max([len(samples), *map(len, rows)])
        if rows and (len(rows) + 1) * longest > BATCH_SECONDS * rate:
            yield names, rows
            names, rows = [], []
        names, rows = [*names, name], [*rows, samples]
    if rows:
        yield names, rows


def _write(out: Path, results: "dict[str, Result]", summary: dict) -> None:
    with whole_folder(out, "decode.json") as folder:
        texts = sorted(results.items())
        (folder / "text").write_text("".join(f"{name} {r.text}".rstrip() + "\n" for name, r in texts), encoding="utf-8")
        words = (ctm_line(name, word.start, word.end, word.text) for name, r in texts for word in r.words)
        (folder / "words.ctm").write_text("".join(words), encoding="utf-8")
        (folder / "decode.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
