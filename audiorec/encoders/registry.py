"""The kinds of encoders. Each is a StreamingModule from feature frames to encoder frames, built from its typed config."""

from typing import Protocol, runtime_checkable

from audiorec.config import Config, Registry
from audiorec.streaming import StreamingModule

ENCODERS = Registry("encoder")


@runtime_checkable
class ManyLatencies(Protocol):
    """What an encoder offers that serves several look-aheads with one set of weights."""

    context: Config  # the one in use

    def latencies(self, frame_ms: float) -> dict[float, Config]:
        """Look-ahead in ms → its context, for output frames of ``frame_ms``."""

    def at_latency(self, ms: float, frame_ms: float) -> StreamingModule:
        """A view at this look-ahead that shares the weights. Raises UserError for one that it does not offer."""
