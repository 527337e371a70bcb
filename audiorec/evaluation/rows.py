"""Measured rows, as score.json files hold them: what each key means, and which rows share a line of a table."""

import json
from collections.abc import Callable, Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ConfigDict

from audiorec.config import Config, parse
from audiorec.errors import ConfigError, UserError

Column = TypeVar("Column", bound=Hashable)


class Figures(Config):
    """Of many values, in seconds."""

    mean: float
    median: float
    p95: float


class Delays(Config):
    """What a streamed decoding measures (`audiorec.evaluation.delays`)."""

    model_config = ConfigDict(extra="ignore")

    aligned: str
    """what tells when words are said"""
    first_partial: Figures | None = None
    word_delay: Figures | None = None
    finalize: Figures | None = None
    changed: float | None = None


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
    condition: str | None = None
    """what was done to the test set: noise, reverberated, telephone"""
    snr_db: float | None = None
    """speech to noise, where noise was added"""
    joined: int | None = None
    """utterances of the test set that were joined in one"""
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
    different_words: int | None = None
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
    streaming: Delays | None = None
    commit: str | None = None
    command: str | None = None

    @property
    def model(self) -> tuple[str, float, str]:
        """What one line of a table shows; the lines are sorted by it."""
        return self.recipe, -1.0 if self.latency_ms is None else self.latency_ms, self.search or ""

    @property
    def change(self) -> str:
        """What was done to the test set, in words; nothing to the plain one."""
        if self.joined is not None:
            return f"{self.joined} joined"
        return " ".join(filter(None, (self.condition, "" if self.snr_db is None else f"{self.snr_db:g} dB")))

    @property
    def fed(self) -> str:
        """How the model got the audio: whole, or the size of pieces."""
        return "whole" if self.chunk_ms is None else f"{self.chunk_ms:g} ms"

    @property
    def seconds(self) -> float | None:
        """The mean length of an utterance."""
        return self.audio_seconds / self.utterances if self.audio_seconds and self.utterances else None


Line = dict[Column, list[Row]]
"""The rows of one model: column → its rows, one a seed"""


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
        typed(row, str(path))
        rows.append(row)
    return rows


def typed(value: Mapping[str, Any], source: str) -> Row:
    """A row with its keys checked. Raises ConfigError that names ``source`` and the key."""
    row = parse(Row, value, source=source)
    if row.mode == "streamed" and (row.chunk_ms is None or row.chunk_ms <= 0):
        raise ConfigError(f"{source}: chunk_ms: a streamed row needs one above 0, got {row.chunk_ms}")
    return row


def lines(rows: Iterable[Row], column: Callable[[Row], Column]) -> list[Line]:
    """The rows by model, each in its column. Raises UserError where two of one seed claim one cell."""
    found: dict[tuple, Line] = {}
    for row in rows:
        cell = found.setdefault(row.model, {}).setdefault(column(row), [])
        if row.seed in {other.seed for other in cell}:
            mode = "offline" if row.mode == "offline" else f"streamed by {row.chunk_ms:g} ms"
            change, seed = f" ({row.change})" if row.change else "", "" if row.seed is None else f" of seed {row.seed}"
            raise UserError(f"{row.recipe} on {row.split}: two rows {mode}{change}{seed}; keep one")
        cell.append(row)
    return list(found.values())


def all_rows(line: Line) -> list[Row]:
    return [row for rows in line.values() for row in rows]
