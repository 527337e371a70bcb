"""``times.yaml`` of a model's folder: how late each head emits its words, so that their begin and end can be told.

A model without it is as good; its words have the times of the frames that emitted them.
"""

from pathlib import Path
from typing import Literal

from audiorec.config import Config, dump_yaml, parse, read_yaml
from audiorec.files import write_text
from audiorec.transcript.times import Delay

TIMES = "times.yaml"


class Delays(Config):
    format: Literal[1] = 1
    delays: dict[str, Delay]


def delay_name(head: str, look_ahead_ms: float | None) -> str:
    """The key of a head's delay in ``times.yaml``; a model of several look-aheads has one for each."""
    return head if look_ahead_ms is None else f"{head} at {look_ahead_ms:g} ms"


def load_delays(folder: Path) -> dict[str, Delay]:
    """The delays in a folder by ``delay_name``; empty where none were measured.

    Raises ConfigError naming what is wrong in the file.
    """
    file = folder / TIMES
    return parse(Delays, read_yaml(file), source=str(file)).delays if file.exists() else {}


def save_delays(folder: Path, delays: dict[str, Delay]) -> Path:
    """Write the delays into a folder in place of older ones; returns the file's path."""
    file = folder / TIMES
    write_text(file, dump_yaml(Delays(delays=delays)))
    return file
