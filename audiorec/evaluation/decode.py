"""Decode a data directory, offline or streamed in pieces, into a Kaldi ``text``, word times and figures."""

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from audiorec.data.kaldi import Recordings, Utterance, read_data_dir
from audiorec.evaluation.delays import Watch, measure, read_aligned
from audiorec.evaluation.folder import whole_folder
from audiorec.live import BaseRecognizer, Engine, Session
from audiorec.live.together import in_order
from audiorec.progress import progress
from audiorec.search import SearchConfig
from audiorec.streaming import state_bytes
from audiorec.transcript.formats import ctm_line

if TYPE_CHECKING:
    from audiorec.recognizer import Recognizer
    from audiorec.runtime import Recognizer as OnnxRecognizer
    from audiorec.transcript import Result

BATCH_SECONDS = 120.0
GATHER_MS = 2.0  # that a batch of streamed pieces waits for the other streams
TIE = 1e-4  # rounding may decide between two scores of a frame that are closer than this


def decode(
    recognizer: "Recognizer | OnnxRecognizer",
    data: Path | str,
    out: Path | str,
    chunk_ms: float | None = None,
    facts: dict | None = None,
    streams: int = 1,
    allow_pipes: bool = False,
    aligned: Path | str | None = None,
) -> dict:
    """Decode every utterance of ``data`` into the folder ``out``: offline in batches, or streamed in ``chunk_ms`` pieces,
    ``streams`` utterances at once.

    Writes ``text``, ``words.ctm`` and ``decode.json``, all or nothing; returns the content of ``decode.json``, to which
    ``facts`` are added. A beam leaves its ``nbest`` too (``utterance-rank words``, as Kaldi numbers them), a stream its
    ``streaming.json``, where a CTM tells when the words are said: ``aligned``, or ``words.ctm`` of ``data``; else the model's
    own times do. ``allow_pipes`` runs the commands of wav.scp.

    Raises UserError naming the utterance or file that cannot be decoded.
    """
    utterances = read_data_dir(data, require_text=False, allow_pipes=allow_pipes)
    recordings = Recordings()
    results: dict[str, Result] = {}
    watches: dict[str, Watch] = {}
    reference = read_aligned(data, aligned)
    audio_seconds = decode_seconds = 0.0
    if chunk_ms is None:
        runs = offline(recognizer, batches(utterances, recordings, recognizer.sample_rate))
    else:
        runs = _streamed(recognizer, _each(utterances, recordings, recognizer.sample_rate), chunk_ms, streams, watches)
    with progress("decoding", len(utterances)) as advance:
        for decoded, seconds, taken in runs:
            results |= decoded
            audio_seconds += seconds
            decode_seconds += taken
            advance(len(decoded))
    summary = {
        "mode": "offline" if chunk_ms is None else "streamed",
        **({} if chunk_ms is None else {"chunk_ms": chunk_ms, "streams": streams}),
        "search": describe_search(recognizer.search_config, recognizer.head),
        "audio_seconds": round(audio_seconds, 3),
        "decode_seconds": round(decode_seconds, 3),
        **_of_model(recognizer),
        "ties": sorted(name for name, result in results.items() if result.margin < TIE),
        **(facts or {}),
    }
    streaming = None
    if watches:
        streaming = measure(watches, results, audio_seconds, decode_seconds, reference)
        summary["streaming"] = {key: value for key, value in streaming.items() if key != "word_delays"}
    _write(Path(out), results, summary, streaming)
    return summary


def _of_model(recognizer: BaseRecognizer) -> dict:
    """What ``decode.json`` says of the model; an export does not know its number of parameters."""
    model = getattr(recognizer, "model", None)
    if model is None:
        return {
            "algorithmic_latency_ms": round(recognizer.latency_ms, 1),
            "state_bytes": recognizer.runner(1).state_bytes,
        }
    from audiorec.models import parameter_count

    return {
        "parameters": parameter_count(model),
        "algorithmic_latency_ms": round(model.latency_ms, 1) if model.streams else None,
        "resampling_latency_ms": round(model.resampling_ms, 1) if model.streams else None,
        "state_bytes": state_bytes(model.initial_state(1, ragged=True)) if model.streams else None,
    }


def describe_search(config: SearchConfig, head: str | None = None) -> str | None:
    """A search in few words (``beam 4, digits.arpa × 0.3``); None for the greedy one of a model's first head."""
    parts = [f"head {head}"] if head else []
    if config.kind == "beam":
        parts.append(f"beam {config.beam}")
        parts += [f"none {config.beam_threshold:g} below the best"] if config.beam_threshold else []
    if config.lm:
        parts.append(f"{config.lm.name} × {config.lm_weight:g}")
        parts += [f"bonus {config.lm_bonus:g}"] if config.lm_bonus else []
    if config.lexicon:
        parts.append(f"words of {config.lexicon.name}")
        parts += [f"{config.word_lm.name} × {config.word_lm_weight:g}"] if config.word_lm else []
        parts += [f"word bonus {config.word_bonus:g}"] if config.word_bonus else []
        parts += [f"unknown words {config.unk_score:+g}"] if config.unk_score is not None else []
    parts += [f"internal LM × −{config.ilm_weight:g}"] if config.ilm_weight else []
    parts += [f"priors × −{config.prior_weight:g}"] if config.prior_weight else []
    if config.hotwords:
        parts.append(f"hotwords + {config.hotwords_score:g}")
    if config.fuse:
        parts.append(f"fused with {config.fuse.name} × {config.fuse_weight:g}")
        parts += [f"bonus {config.fuse_bonus:g}"] if config.fuse_bonus else []
    if config.rescore:
        parts.append(f"rescored by {config.rescore.name} × {config.rescore_weight:g}")
        parts += [f"bonus {config.rescore_bonus:g}"] if config.rescore_bonus else []
    if config.skip_blank:
        parts.append(f"blanks above {config.skip_blank:g} skipped")
    if config.max_symbols:
        parts.append(f"{config.max_symbols} symbols a frame")
    return ", ".join(parts) or None


Run = tuple["dict[str, Result]", float, float]  # results, their seconds of audio, seconds of work since the last


def offline(recognizer: BaseRecognizer, source: Iterator[tuple[list[str], list[np.ndarray]]]) -> Iterator[Run]:
    """Decode batches of ids and samples, whole utterances at once."""
    batch = getattr(recognizer, "transcribe_batch", recognizer.transcribe)  # of torch's, all rows in one step
    for names, samples in source:
        start = time.perf_counter()
        decoded = batch(samples)
        taken = time.perf_counter() - start
        yield dict(zip(names, decoded, strict=True)), sum(map(len, samples)) / recognizer.sample_rate, taken


def _streamed(
    recognizer: BaseRecognizer,
    source: Iterator[tuple[list[str], list[np.ndarray]]],
    chunk_ms: float,
    streams: int,
    watches: dict[str, Watch],
) -> Iterator[Run]:
    def work(opened: Callable[[], Session], given: tuple[list[str], list[np.ndarray]]) -> Run:
        (name,), (samples,) = given
        watch = watches[name] = Watch()
        result = watch.listen(opened(), samples, chunk_ms)
        return {name: result}, len(samples) / recognizer.sample_rate, watch.work / streams

    if streams == 1:
        yield from map(partial(work, recognizer.stream), source)
        return
    with Engine(recognizer, streams, wait_ms=GATHER_MS) as engine:
        yield from in_order(partial(work, partial(engine.session, wait=True)), source, streams)


def in_pieces(session: Session, samples: np.ndarray, chunk_ms: float) -> "Result":
    """The result of a stream that gets samples (T,) in pieces of ``chunk_ms`` milliseconds, each when the one before is done."""
    size = max(1, round(chunk_ms * session.sample_rate / 1000))
    with session:
        for start in range(0, len(samples), size):
            session.accept(samples[start : start + size])
            session.wait()
    return session.partial()


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


def _write(out: Path, results: "dict[str, Result]", summary: dict, streaming: dict | None) -> None:
    with whole_folder(out, "decode.json") as folder:
        texts = sorted(results.items())
        (folder / "text").write_text("".join(f"{name} {r.text}".rstrip() + "\n" for name, r in texts), encoding="utf-8")
        words = (ctm_line(name, word.start, word.end, word.text) for name, r in texts for word in r.words)
        (folder / "words.ctm").write_text("".join(words), encoding="utf-8")
        if any(len(r.nbest) > 1 for _, r in texts):
            lines = (
                f"{name}-{rank} {each.text}".rstrip() + "\n"
                for name, r in texts
                for rank, each in enumerate(r.nbest or [r], 1)
            )
            (folder / "nbest").write_text("".join(lines), encoding="utf-8")
        if streaming:
            (folder / "streaming.json").write_text(json.dumps(streaming, indent=1) + "\n", encoding="utf-8")
        (folder / "decode.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
