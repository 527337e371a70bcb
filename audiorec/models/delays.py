"""The delays in a model or run directory."""

from pathlib import Path

from audiorec.models.directory import find_model
from audiorec.transcript import Delay
from audiorec.transcript.delays import load_delays, save_delays


def read_delays(path: Path | str) -> dict[str, Delay]:
    """The delays of a model or run directory by ``delay_name``; empty where none were measured.

    Raises ConfigError naming what is wrong in the file.
    """
    return load_delays(find_model(path))


def write_delays(path: Path | str, delays: dict[str, Delay]) -> Path:
    """Write the delays into a model or run directory in place of older ones; returns the file's path."""
    return save_delays(find_model(path), delays)
