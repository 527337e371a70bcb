"""RESULTS.md: measured rows in, one Markdown table per test set out."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Literal

from pydantic import ConfigDict

from audiorec.config import Config, parse
from audiorec.errors import ConfigError, UserError
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
NONE = "–"
OFFLINE = 0.0


class Row(Config):
    """The figures of one decoding of one test set. Other keys are ignored."""

    model_config = ConfigDict(extra="ignore")

    recipe: str
    split: str
    mode: Literal["offline", "streamed"]
    wer: float
    cer: float | None = None
    interval: tuple[float, float] | None = None
    utterances: int | None = None
    words: int | None = None
    chunk_ms: float | None = None
    """size of the pieces fed: streamed rows need it, offline rows have none"""
    streams: int = 1
    """utterances streamed at once"""
    latency_ms: float | None = None
    """the look-ahead that was chosen, of a model with several"""
    search: str | None = None
    """the search, or the name of the decoding, where it is not the plain one"""
    seed: int | None = None
    """of the training, where there are several"""
    differences: int | None = None
    """utterances whose words differ from the offline row's"""
    parameters: int | None = None
    algorithmic_latency_ms: float | None = None
    """of audio at the model's own rate"""
    resampling_latency_ms: float | None = None
    """what comes on top at other rates, at most"""
    state_bytes: int | None = None
    training_seconds: float | None = None
    training_audio_seconds: float | None = None
    audio_seconds: float | None = None
    decode_seconds: float | None = None
    commit: str | None = None
    command: str | None = None

    @property
    def chunk(self) -> float:
        return OFFLINE if self.mode == "offline" else self.chunk_ms

    @property
    def model(self) -> tuple[str, float, str]:
        """What one line of a table shows; the lines are sorted by it."""
        return self.recipe, -1.0 if self.latency_ms is None else self.latency_ms, self.search or ""


Line = dict[float, list[Row]]
"""The rows of one model: chunk size → its rows, one a seed; ``OFFLINE`` → the offline ones"""


def read_rows(paths: Iterable[Path | str]) -> list[dict]:
    """The measured rows in JSON files, one each. Raises UserError that names the file, and the key at fault."""
    rows = []
    for path in paths:
        try:
            row = json.loads(Path(path).read_bytes())
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from None
        except ValueError as error:
            raise UserError(f"{path}: not JSON: {error}") from None
        _row(row, str(path))
        rows.append(row)
    return rows


def render(title: str, rows: Sequence[Mapping[str, Any]], notes: Sequence[str] = ()) -> str:
    """The page as Markdown: the tables, the notes, the commands behind the rows; the order of ``rows`` does not matter.

    Rows that differ in ``seed`` alone share a line, as mean ± standard deviation.

    Raises ConfigError for a row that lacks a key, UserError when two rows claim one cell or one test set has two sizes.
    """
    typed = [_row(row, f"row {number}") for number, row in enumerate(rows, 1)]
    typed.sort(key=lambda row: (row.split, row.model, row.chunk, -1 if row.seed is None else row.seed))
    seeds = LEGEND_SEEDS if len({row.seed for row in typed}) > 1 else ""
    added = max((row.resampling_latency_ms or 0.0 for row in typed), default=0.0)
    resampling = LEGEND_RESAMPLING.format(added) if added else ""
    at_once = max((row.streams for row in typed if row.mode == "streamed"), default=1)
    streams = f", up to {at_once} streams at once" if at_once > 1 else ""
    parts = [f"# {title}", LEGEND.format(seeds=seeds, resampling=resampling, streams=streams)]
    for split in dict.fromkeys(row.split for row in typed):
        members = [row for row in typed if row.split == split]
        parts += [f"## {split}{_size(members)}", _table(_lines(members))]
    if notes:
        parts += ["## Notes", "\n".join(f"- {note}" for note in notes)]
    return "\n\n".join(parts + _commands(typed)) + "\n"


def write_results(path: Path | str, title: str, rows: Sequence[Mapping[str, Any]], notes: Sequence[str] = ()) -> None:
    """Write ``render``'s page, whole or not at all."""
    write_text(path, render(title, rows, notes))


def _row(value: Mapping[str, Any], source: str) -> Row:
    row = parse(Row, value, source=source)
    if row.mode == "streamed" and (row.chunk_ms is None or row.chunk_ms <= 0):
        raise ConfigError(f"{source}: chunk_ms: a streamed row needs one above 0, got {row.chunk_ms}")
    return row


def _size(rows: list[Row]) -> str:
    """The size of a test set; rows of different sizes were not measured on the same one."""
    sizes = {(row.utterances, row.words): row for row in rows if row.utterances is not None and row.words is not None}
    if len(sizes) > 1:
        counts = " and ".join(f"{utterances} utterances, {words} words" for utterances, words in sorted(sizes))
        names = ", ".join(sorted({row.recipe for row in sizes.values()}))
        raise UserError(f"{rows[0].split}: rows of different test sets ({counts}) in {names}; decode them again")
    return "".join(f" ({utterances:,} utterances, {words:,} words)" for utterances, words in sizes)


def _lines(rows: list[Row]) -> list[Line]:
    lines: dict[tuple, Line] = {}
    for row in rows:
        cell = lines.setdefault(row.model, {}).setdefault(row.chunk, [])
        if row.seed in {other.seed for other in cell}:
            mode = "offline" if row.chunk == OFFLINE else f"streamed by {row.chunk:g} ms"
            seed = "" if row.seed is None else f" of seed {row.seed}"
            raise UserError(f"{row.recipe} on {row.split}: two rows {mode}{seed}; keep one")
        cell.append(row)
    return list(lines.values())


def _table(lines: list[Line]) -> str:
    """A Markdown table; columns without any entry are left out, but for the two that every page shows."""
    chunks = sorted({chunk for line in lines for chunk in line if chunk != OFFLINE})
    columns = {
        "recipe": [_first(line, "recipe") for line in lines],
        "look-ahead, ms": [_first(line, "latency_ms", "{:g}") for line in lines],
        "search": [_first(line, "search") for line in lines],
        "seeds": [_seeds(line) for line in lines],
        "parameters": [_first(line, "parameters", "{:,}") for line in lines],
        "WER offline": [_wer(line.get(OFFLINE, [])) for line in lines],
        **{
            f"streamed, {chunk:g} ms": [_wer(line.get(chunk, []), interval=False) for line in lines] for chunk in chunks
        },
        "CER": [_rate([row.cer for row in line.get(OFFLINE, []) if row.cer is not None]) for line in lines],
        "differ": [_differ(line) for line in lines],
        "latency, ms": [_first(line, "algorithmic_latency_ms", "{:g}") for line in lines],
        "state, bytes": [_first(line, "state_bytes", "{:,}") for line in lines],
        "heard, h": [_training(line)[2] for line in lines],
        "training, min": [_training(line)[0] for line in lines],
        "s per hour": [_training(line)[1] for line in lines],
        "RTF offline": [_factor(line.get(OFFLINE, [])) for line in lines],
        "RTF streamed": [_factor(row for row in _rows(line) if row.chunk != OFFLINE) for line in lines],
    }
    kept = {
        name: cells
        for name, cells in columns.items()
        if name in ("WER offline", "differ") or any(cell != NONE for cell in cells)
    }
    header = [list(kept), ["---" if name in ("recipe", "search") else "---:" for name in kept]]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [*header, *zip(*kept.values(), strict=True)])


def _rows(line: Line) -> list[Row]:
    return [row for rows in line.values() for row in rows]


def _first(line: Line, key: str, form: str = "{}") -> str:
    """A value that is the same in all rows of a line, from the first row that has it."""
    values = [getattr(row, key) for row in _rows(line) if getattr(row, key) is not None]
    return form.format(values[0]).replace("|", "\\|") if values else NONE


def _seeds(line: Line) -> str:
    """The number of trainings, where there are several."""
    count = max(map(len, line.values()))
    return str(count) if count > 1 else NONE


def _wer(rows: list[Row], interval: bool = True) -> str:
    """Of one training with its interval, of several their mean and standard deviation."""
    if not rows:
        return NONE
    bounds = rows[0].interval if interval and len(rows) == 1 else None
    return _rate([row.wer for row in rows]) + (f" [{100 * bounds[0]:.2f}, {100 * bounds[1]:.2f}]" if bounds else "")


def _rate(rates: list[float]) -> str:
    """A rate in %; of several trainings the mean and the standard deviation."""
    if len(rates) > 1:
        return f"{100 * mean(rates):.2f} ± {100 * stdev(rates):.2f}"
    return f"{100 * rates[0]:.2f}" if rates else NONE


def _differ(line: Line) -> str:
    """Known only if every streamed row was compared."""
    counts = [row.differences for row in _rows(line) if row.chunk != OFFLINE]
    return str(max(counts)) if counts and None not in counts else NONE


def _factor(rows: Iterable[Row]) -> str:
    factors = [row.decode_seconds / row.audio_seconds for row in rows if row.audio_seconds and row.decode_seconds]
    return f"{max(factors):.2g}" if factors else NONE


def _training(line: Line) -> tuple[str, str, str]:
    """Minutes in all, seconds for an hour of audio, and hours of audio heard; of several trainings the mean."""
    trainings = {
        row.seed: (row.training_seconds, row.training_audio_seconds)
        for row in reversed(_rows(line))
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
