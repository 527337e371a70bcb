"""What a live stream asks of a recogniser and of its runner, whatever computes: torch, or another runtime."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from audiorec.text import Tokenizer
from audiorec.transcript import Delay, Ending, Endpoint, EndpointConfig, Endpointer, Hypothesis, Part


class LiveRunner(Protocol):
    """As ``audiorec.recognizer.Runner``, which says what each does."""

    first_feed: int
    period: int

    @property
    def revises(self) -> bool: ...
    @property
    def state_bytes(self) -> int: ...
    def feed_for(self, samples: int) -> int: ...
    def begin(
        self, samples: np.ndarray, rows: Sequence[Endpointer], own: Sequence[Any]
    ) -> tuple[list[int], list[list[Part]]]: ...
    def step(self, slots: Sequence[int], samples: np.ndarray, rows: Sequence[Endpointer]) -> list[list[Part]]: ...
    def partial(self, slot: int) -> Hypothesis: ...
    def commit(self, slot: int, row: Endpointer) -> list[Part]: ...
    def finish(
        self, slots: Sequence[int | None], rests: Sequence[np.ndarray], rows: Sequence[Endpointer], own: Sequence[Any]
    ) -> tuple[list[list[Part]], list[Ending]]: ...
    def free(self, slot: int) -> None: ...


class LiveRecognizer(Protocol):
    """As ``audiorec.Recognizer``."""

    tokenizer: Tokenizer
    delay: Delay | None
    endpoint: EndpointConfig | None

    @property
    def sample_rate(self) -> int: ...
    @property
    def frame_seconds(self) -> float: ...
    @property
    def latency_ms(self) -> float: ...
    def usable_endpoint(self, endpoint: Endpoint) -> EndpointConfig | None: ...
    def runner(self, slots: int, own: bool = False) -> LiveRunner: ...
    def own_automata(self, search: Mapping[str, Any]) -> Any: ...
