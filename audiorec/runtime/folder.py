"""``export.yaml``: what an exported folder says of its graphs."""

from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt

from audiorec.config import Config, parse, read_yaml
from audiorec.errors import UserError
from audiorec.search.stretches import Rules
from audiorec.text import Normalizer

EXPORT = "export.yaml"
FORMAT = 1


class _Part(Config):
    model_config = ConfigDict(extra="ignore")  # a later version of the same format may say more


class Leaf(_Part):
    """An array of a state: its dotted name, its shape without the batch, its dtype."""

    name: str
    shape: tuple[NonNegativeInt, ...]
    dtype: Literal["float32", "int64", "int32", "bool"]


class HeadFacts(_Part):
    name: str
    kind: Literal["ctc", "rnnt", "tdt", "classify", "frames"]
    max_symbols: PositiveInt = 10
    durations: tuple[NonNegativeInt, ...] = ()
    rules: Rules = Rules()  # of frames


class Latency(_Part):
    """What differs between the latencies of an export. ``first_feed`` and ``period`` are samples at its ``sample_rate``."""

    look_ahead_ms: float | None = None
    latency_ms: PositiveFloat
    first_feed: PositiveInt
    period: PositiveInt
    state: tuple[Leaf, ...]


class Export(Latency):
    """An export at one latency. ``stride`` is samples at ``sample_rate``; ``latencies``: all, the default first, or empty where
    there is one alone."""

    format: Literal[1]
    kind: Literal["onnx"]
    sample_rate: PositiveInt
    stride: PositiveInt
    frame_seconds: PositiveFloat
    language: str | None = None
    vocabulary: PositiveInt
    head: HeadFacts
    normalize: Normalizer = Field(default_factory=Normalizer)
    predictor_state: tuple[Leaf, ...] = ()
    latencies: tuple[Latency, ...] = ()

    @property
    def suffix(self) -> str:
        """What ends the names of its encoder's graphs."""
        default = self.latencies[0].look_ahead_ms if self.latencies else self.look_ahead_ms
        return suffix(self.look_ahead_ms, default)

    def at(self, ms: float) -> "Export":
        """The same at another latency. Raises UserError naming those that it has."""
        if ms == self.look_ahead_ms:
            return self
        for one in self.latencies:
            if one.look_ahead_ms == ms:
                return self.model_copy(update=dict(one))
        found = [one.look_ahead_ms for one in self.latencies or (self,) if one.look_ahead_ms is not None]
        has = f"{', '.join(f'{one:g}' for one in found)} ms" if found else "its only one"
        raise UserError(f"latency {ms:g} ms: this export has {has}; export the model at the other one")


def suffix(ms: float | None, default: float | None) -> str:
    """What ends the names of the encoder's graphs at a latency: nothing at the default one."""
    return "" if ms == default else f"@{ms:g}"


def is_export(path: Path | str) -> bool:
    """Whether it is an exported folder."""
    return (Path(path) / EXPORT).is_file()


def read_export(folder: Path) -> Export:
    """Raises UserError for another format, ConfigError naming the key that does not fit."""
    path = folder / EXPORT
    content = read_yaml(path)
    found = (content.get("kind"), content.get("format")) if isinstance(content, dict) else None
    if found == ("sherpa-onnx", FORMAT):
        raise UserError(
            f"{path}: kind 'sherpa-onnx', as README.md beside it shows; audiorec runs exports of --format onnx"
        )
    if found != ("onnx", FORMAT):
        what = "no export" if found is None else f"kind {found[0]!r}, format {found[1]!r}"
        raise UserError(
            f"{path}: {what}; this version reads kind onnx, format {FORMAT}: export again, or use a newer audiorec"
        )
    return parse(Export, content, source=str(path))
