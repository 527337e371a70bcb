"""Decode a data directory, offline or streamed in pieces, into a Kaldi ``text``, word times and what it took."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from audiorec.data.kaldi import Recordings, Utterance, read_data_dir
from audiorec.evaluation.folder import whole_folder
from audiorec.streaming import state_bytes

if TYPE_CHECKING:
    from audiorec.recognizer import Recognizer, Result

BATCH_SECONDS = 120.0
TIE = 1e-4  # where the two best scores of a frame are this close, rounding may choose between them


def decode(
    recognizer: "Recognizer",
    data: Path | str,
    out: Path | str,
    chunk_ms: float | None = None,
    about: dict | None = None,
) -> dict:
    """Decode every utterance of ``data`` into the folder ``out``: offline in batches, or streamed in ``chunk_ms`` pieces.

    Writes ``text``, ``words.ctm`` and ``decode.json``, all or nothing; returns what ``decode.json`` holds. ``about`` is
    added to it. Raises UserError naming the utterance or file that cannot be decoded.
    """
    from audiorec.models import parameter_count

    utterances = read_data_dir(data, require_text=False)
    recordings = Recordings()
    results: dict[str, Result] = {}
    audio_seconds = decode_seconds = 0.0
    source = _each if chunk_ms is not None else batches
    for names, samples in source(utterances, recordings, recognizer.sample_rate):
        began = time.perf_counter()
        given = (
            recognizer.transcribe_batch(samples) if chunk_ms is None else [in_pieces(recognizer, samples[0], chunk_ms)]
        )
        decode_seconds += time.perf_counter() - began
        audio_seconds += sum(map(len, samples)) / recognizer.sample_rate
        results |= dict(zip(names, given, strict=True))
    model = recognizer.model
    summary = {
        "mode": "offline" if chunk_ms is None else "streamed",
        **({} if chunk_ms is None else {"chunk_ms": chunk_ms}),
        "audio_seconds": round(audio_seconds, 3),
        "decode_seconds": round(decode_seconds, 3),
        "parameters": parameter_count(model),
        "algorithmic_latency_ms": round(model.latency_ms, 1) if model.streams else None,
        "state_bytes": state_bytes(model.initial_state(1, ragged=True)) if model.streams else None,
        "ties": sorted(name for name, result in results.items() if result.margin < TIE),
        **(about or {}),
    }
    _write(Path(out), results, summary)
    return summary


def in_pieces(recognizer: "Recognizer", samples: np.ndarray, chunk_ms: float) -> "Result":
    """What a stream hears in samples (T,) that come in pieces of ``chunk_ms`` milliseconds."""
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
    """Utterances in their order, as many at once as stay below ``BATCH_SECONDS`` with padding."""
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
        words = (f"{n} 1 {w.start:.2f} {w.end - w.start:.2f} {w.text}\n" for n, r in texts for w in r.words)
        (folder / "words.ctm").write_text("".join(words), encoding="utf-8")
        (folder / "decode.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
