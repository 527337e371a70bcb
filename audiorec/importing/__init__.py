"""Streaming checkpoints of other toolkits as model folders: the same weights, the same numbers, and the law."""

from audiorec.importing.source import import_model

__all__ = ["import_model"]
