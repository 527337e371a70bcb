"""RESULTS.md: measured rows in, one Markdown table per test set out."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from audiorec.errors import UserError
from audiorec.evaluation.conditions import robustness
from audiorec.evaluation.delay_table import delays
from audiorec.evaluation.lengths import long_form
from audiorec.evaluation.markdown import NONE, first, model_columns, rate, table, wer
from audiorec.evaluation.rows import Line, Row, all_rows, lines, typed
from audiorec.files import write_text

LEGEND = """\
Word error rates in %, offline with their 95 % bootstrap interval over utterances, streamed by the size of the pieces
fed{seeds}. *CER*: the rate of letters, offline. *Differ*: utterances whose words are not the same streamed as offline (the most
of any size). *Latency*: the model's own, from features, subsampling and look-ahead{resampling}. *State*: what a stream carries.
*Heard*: hours of audio in training, every epoch counted. *Training*: minutes in all, validation included, and seconds for each of
these hours. *RTF*: seconds of work per second of audio (streamed: the slowest size, on one core{streams}). This page is
generated."""
LEGEND_RESAMPLING = """; audio that comes at another rate than the
model's is resampled, which adds up to {:g} ms"""
LEGEND_SEEDS = """. Where a recipe was trained with several
*seeds*: mean ± standard deviation over these trainings, the largest of *differ* and *RTF*, the mean of *training*"""
OFFLINE = 0.0


def render(title: str, rows: Sequence[Mapping[str, Any]], notes: Sequence[str] = ()) -> str:
    """The page as Markdown: the tables, the notes, the commands behind the rows; the order of ``rows`` does not matter.

    Rows that differ in ``seed`` alone share a line, as mean ± standard deviation.

    Raises ConfigError for a row that lacks a key, UserError when two rows claim one cell or one test set has two sizes.
    """
    checked = [typed(row, f"row {number}") for number, row in enumerate(rows, 1)]
    checked.sort(key=lambda row: (row.split, row.model, _chunk(row), row.change, -1 if row.seed is None else row.seed))
    seeds = LEGEND_SEEDS if len({row.seed for row in checked}) > 1 else ""
    added = max((row.resampling_latency_ms or 0.0 for row in checked), default=0.0)
    resampling = LEGEND_RESAMPLING.format(added) if added else ""
    at_once = max((row.streams for row in checked if row.mode == "streamed"), default=1)
    streams = f", up to {at_once} streams at once" if at_once > 1 else ""
    parts = [f"# {title}", LEGEND.format(seeds=seeds, resampling=resampling, streams=streams)]
    for split in dict.fromkeys(row.split for row in checked):
        members = [row for row in checked if row.split == split]
        plain = [row for row in members if not row.change]
        parts += [
            f"## {split}{_size([row for row in members if row.joined is None])}",
            *([_table(lines(plain, _chunk))] if plain else []),
            *robustness(members),
            *long_form(members),
            *delays(members),
        ]
    if notes:
        parts += ["## Notes", "\n".join(f"- {note}" for note in notes)]
    return "\n\n".join(parts + _commands(checked)) + "\n"


def write_results(path: Path | str, title: str, rows: Sequence[Mapping[str, Any]], notes: Sequence[str] = ()) -> None:
    """Write ``render``'s page, whole or not at all."""
    write_text(path, render(title, rows, notes))


def _chunk(row: Row) -> float:
    return OFFLINE if row.chunk_ms is None else row.chunk_ms


def _size(rows: list[Row]) -> str:
    """The size of a test set; rows of different sizes were not measured on the same one."""
    sizes = {(row.utterances, row.words): row for row in rows if row.utterances is not None and row.words is not None}
    if len(sizes) > 1:
        counts = " and ".join(f"{utterances} utterances, {words} words" for utterances, words in sorted(sizes))
        names = ", ".join(sorted({row.recipe for row in sizes.values()}))
        raise UserError(f"{rows[0].split}: rows of different test sets ({counts}) in {names}; decode them again")
    return "".join(f" ({utterances:,} utterances, {words:,} words)" for utterances, words in sizes)


def _table(found: list[Line]) -> str:
    chunks = sorted({chunk for line in found for chunk in line if chunk != OFFLINE})
    columns = {
        **model_columns(found),
        "parameters": [first(line, "parameters", "{:,}") for line in found],
        "WER offline": [wer(line.get(OFFLINE, [])) for line in found],
        **{f"streamed, {chunk:g} ms": [wer(line.get(chunk, []), interval=False) for line in found] for chunk in chunks},
        "CER": [rate([row.cer for row in line.get(OFFLINE, []) if row.cer is not None]) for line in found],
        "differ": [_differ(line) for line in found],
        "latency, ms": [first(line, "algorithmic_latency_ms", "{:g}") for line in found],
        "state, bytes": [first(line, "state_bytes", "{:,}") for line in found],
        "heard, h": [_training(line)[2] for line in found],
        "training, min": [_training(line)[0] for line in found],
        "s per hour": [_training(line)[1] for line in found],
        "RTF offline": [_factor(line.get(OFFLINE, [])) for line in found],
        "RTF streamed": [_factor(row for row in all_rows(line) if row.mode == "streamed") for line in found],
    }
    return table(columns, always=("WER offline", "differ"))


def _differ(line: Line) -> str:
    """Known only if every streamed row was compared."""
    counts = [row.differences for row in all_rows(line) if row.mode == "streamed"]
    return str(max(counts)) if counts and None not in counts else NONE


def _factor(rows: Iterable[Row]) -> str:
    factors = [row.decode_seconds / row.audio_seconds for row in rows if row.audio_seconds and row.decode_seconds]
    return f"{max(factors):.2g}" if factors else NONE


def _training(line: Line) -> tuple[str, str, str]:
    """Minutes in all, seconds for an hour of audio, and hours of audio heard; of several trainings the mean."""
    trainings = {
        row.seed: (row.training_seconds, row.training_audio_seconds)
        for row in reversed(all_rows(line))
        if row.training_seconds and row.training_audio_seconds
    }
    if not trainings:
        return NONE, NONE, NONE
    seconds, audio = (mean(values) for values in zip(*trainings.values(), strict=True))
    return f"{seconds / 60:.1f}", f"{seconds / (audio / 3600):.0f}", f"{audio / 3600:.0f}"


def _commands(rows: list[Row]) -> list[str]:
    parts = ["## Commands"]
    for commit in sorted({row.commit or "" for row in rows if row.command}):
        commands = dict.fromkeys(row.command for row in rows if row.command and (row.commit or "") == commit)
        parts += [f"At commit {commit}:" if commit else "At no commit:", "```\n" + "\n".join(commands) + "\n```"]
    return parts if len(parts) > 1 else []
