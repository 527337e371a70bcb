"""The ``audiorec`` command: a thin face over the library. Nothing heavy is imported before a command needs it."""

# Commands register as their modules are imported; --help shows them in this order.
from audiorec.cli import train, lm, recognize, label, transcribe, serve, results  # noqa: F401, I001
from audiorec.cli import info, config, data, datasets, copies, export, importing  # noqa: F401
from audiorec.cli.app import app, main

__all__ = ["app", "main"]
