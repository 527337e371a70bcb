"""RESULTS.md: measured rows in, one Markdown table per test set out."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict

from audiorec.config import Config, parse
from audiorec.errors import ConfigError, UserError
from audiorec.files import write_text

LEGEND = """\
Word error rates in %, offline with their 95 % bootstrap interval over utterances, streamed by the size of the pieces
fed. *Differ*: utterances whose words are not the same streamed as offline (the most of any size). *Latency*: the
model's own, from features, subsampling and look-ahead. *State*: what a stream carries. *Training*: minutes in all,
validation included, and seconds for each hour of audio seen. *RTF*: seconds of work per second of audio (streamed: the
slowest size, on one core). This page is generated."""
NONE = "–"
OFFLINE = 0.0


class Row(Config):
    """One decoding of one test set, measured. Keys it does not know are left for others."""

    model_config = ConfigDict(extra="ignore")

    recipe: str
    split: str
    mode: Literal["offline", "streamed"]
    wer: float
    interval: tuple[float, float] | None = None
    utterances: int | None = None
    words: int | None = None
    chunk_ms: float | None = None
    """size of the pieces fed: streamed rows need it, offline rows have none"""
    latency_ms: float | None = None
    """the look-ahead asked of a model that offers several"""
    search: str | None = None
    differences: int | None = None
    """utterances whose words differ from the offline row's"""
    parameters: int | None = None
    algorithmic_latency_ms: float | None = None
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
        """What one line of a table is about; sorts."""
        return self.recipe, -1.0 if self.latency_ms is None else self.latency_ms, self.search or ""


Line = dict[float, Row]
"""The rows of one model: chunk size → row, ``OFFLINE`` → the offline one"""


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
    """The page as Markdown: the tables, the notes, the commands that made them; the order of ``rows`` does not matter.

    Raises ConfigError for a row that lacks a key, UserError when two rows claim one cell or one test set has two sizes.
    """
    typed = [_row(row, f"row {number}") for number, row in enumerate(rows, 1)]
    typed.sort(key=lambda row: (row.split, row.model, row.chunk))
    parts = [f"# {title}", LEGEND]
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
        line = lines.setdefault(row.model, {})
        if row.chunk in line:
            what = "offline" if row.chunk == OFFLINE else f"streamed by {row.chunk:g} ms"
            raise UserError(f"{row.recipe} on {row.split}: two rows {what}; keep one")
        line[row.chunk] = row
    return list(lines.values())


def _table(lines: list[Line]) -> str:
    """A Markdown table; columns that no line has anything for are left out, but for the two that make the promise."""
    chunks = sorted({chunk for line in lines for chunk in line if chunk != OFFLINE})
    columns = {
        "recipe": [_first(line, "recipe") for line in lines],
        "look-ahead, ms": [_first(line, "latency_ms", "{:g}") for line in lines],
        "search": [_first(line, "search") for line in lines],
        "parameters": [_first(line, "parameters", "{:,}") for line in lines],
        "WER offline": [_wer(line.get(OFFLINE)) for line in lines],
        **{f"streamed, {chunk:g} ms": [_wer(line.get(chunk), interval=False) for line in lines] for chunk in chunks},
        "differ": [_differ(line) for line in lines],
        "latency, ms": [_first(line, "algorithmic_latency_ms", "{:g}") for line in lines],
        "state, bytes": [_first(line, "state_bytes", "{:,}") for line in lines],
        "training, min": [_training(line)[0] for line in lines],
        "s per hour": [_training(line)[1] for line in lines],
        "RTF offline": [_factor(row for chunk, row in line.items() if chunk == OFFLINE) for line in lines],
        "RTF streamed": [_factor(row for chunk, row in line.items() if chunk != OFFLINE) for line in lines],
    }
    kept = {
        name: cells
        for name, cells in columns.items()
        if name in ("WER offline", "differ") or any(cell != NONE for cell in cells)
    }
    header = [list(kept), ["---" if name in ("recipe", "search") else "---:" for name in kept]]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [*header, *zip(*kept.values(), strict=True)])


def _first(line: Line, key: str, form: str = "{}") -> str:
    """What all rows of a line say alike, from the first that says it."""
    values = [getattr(row, key) for row in line.values() if getattr(row, key) is not None]
    return form.format(values[0]).replace("|", "\\|") if values else NONE


def _wer(row: Row | None, interval: bool = True) -> str:
    if row is None:
        return NONE
    bounds = f" [{100 * row.interval[0]:.2f}, {100 * row.interval[1]:.2f}]" if interval and row.interval else ""
    return f"{100 * row.wer:.2f}{bounds}"


def _differ(line: Line) -> str:
    """Known only if every streamed row was compared."""
    counts = [row.differences for chunk, row in line.items() if chunk != OFFLINE]
    return str(max(counts)) if counts and None not in counts else NONE


def _factor(rows: Iterable[Row]) -> str:
    factors = [row.decode_seconds / row.audio_seconds for row in rows if row.audio_seconds and row.decode_seconds]
    return f"{max(factors):.2g}" if factors else NONE


def _training(line: Line) -> tuple[str, str]:
    """Minutes in all, and seconds for an hour of audio."""
    for row in line.values():
        if row.training_seconds and row.training_audio_seconds:
            hours = row.training_audio_seconds / 3600
            return f"{row.training_seconds / 60:.1f}", f"{row.training_seconds / hours:.0f}"
    return NONE, NONE


def _commands(rows: list[Row]) -> list[str]:
    parts = ["## Commands"]
    for commit in sorted({row.commit or "" for row in rows if row.command}):
        commands = dict.fromkeys(row.command for row in rows if row.command and (row.commit or "") == commit)
        parts += [f"At commit {commit}:" if commit else "At no commit:", "```\n" + "\n".join(commands) + "\n```"]
    return parts if len(parts) > 1 else []
