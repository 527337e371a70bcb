"""``times.yaml`` of a model directory: how late each head emits its words, so that their begin and end can be told.

A model without it is as good; its words have the times of the frames that emitted them.
"""

from pathlib import Path
from typing import Literal

from audiorec.config import Config, dump_yaml, parse, read_yaml
from audiorec.files import write_text
from audiorec.models.directory import find_model
from audiorec.transcript import Delay

TIMES = "times.yaml"


class Delays(Config):
    format: Literal[1] = 1
    delays: dict[str, Delay]


def delay_name(head: str, look_ahead_ms: float | None) -> str:
    """The key of a head's delay in ``times.yaml``; a model of several look-aheads has one for each."""
    return head if look_ahead_ms is None else f"{head} at {look_ahead_ms:g} ms"


def read_delays(path: Path | str) -> dict[str, Delay]:
    """The delays of a model or run directory by ``delay_name``; empty where none were measured.

    Raises ConfigError naming what is wrong in the file.
    """
    file = find_model(path) / TIMES
    return parse(Delays, read_yaml(file), source=str(file)).delays if file.exists() else {}


def write_delays(path: Path | str, delays: dict[str, Delay]) -> Path:
    """Write the delays into a model or run directory in place of older ones; returns the file's path."""
    file = find_model(path) / TIMES
    write_text(file, dump_yaml(Delays(delays=delays)))
    return file
