"""The ``audiorec`` command: a thin face over the library. Nothing heavy is imported before a command needs it."""

from audiorec.cli import train, lm, recognize, transcribe, serve, results, info, config, data, datasets, export, importing  # noqa: F401, I001 (register commands, in this order)
from audiorec.cli.app import app, main

__all__ = ["app", "main"]
