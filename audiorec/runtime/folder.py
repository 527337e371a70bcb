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


class Export(_Part):
    """``first_feed``, ``period`` and ``stride`` are samples at ``sample_rate``."""

    format: Literal[1]
    kind: Literal["onnx"]
    sample_rate: PositiveInt
    first_feed: PositiveInt
    period: PositiveInt
    stride: PositiveInt
    frame_seconds: PositiveFloat
    latency_ms: PositiveFloat
    look_ahead_ms: float | None = None
    language: str | None = None
    vocabulary: PositiveInt
    head: HeadFacts
    normalize: Normalizer = Field(default_factory=Normalizer)
    state: tuple[Leaf, ...]
    predictor_state: tuple[Leaf, ...] = ()


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
