"""``BaseRecognizer``: what recognisers of every runtime have in common: recordings and live streams over their runner."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, overload

import numpy as np

from audiorec.errors import ConfigError, UserError
from audiorec.live.engine import Engine
from audiorec.live.inputs import Audio, is_pair, pieces, whole
from audiorec.live.recognizer import LiveRunner
from audiorec.live.session import Session
from audiorec.live.stream import Stream
from audiorec.live.together import in_order
from audiorec.text import Tokenizer
from audiorec.transcript import ENDPOINT, Delay, Endpoint, EndpointConfig, Result, parse_endpoint

AT_ONCE = 16  # recordings of a list that share a step


class BaseRecognizer(ABC):
    """Offline and live use give the same words (docs/design.md, section 2)."""

    tokenizer: Tokenizer
    delay: Delay | None
    """how late words are emitted; None: not measured"""
    endpoint: EndpointConfig | None
    """where a segment of speech ends; None: all is one segment"""

    segments: bool
    """whether its search has segments; a head that names a whole recording has one alone"""

    @property
    @abstractmethod
    def sample_rate(self) -> int:
        """The rate of the model's features, Hz; other rates are resampled."""

    @property
    @abstractmethod
    def frame_seconds(self) -> float:
        """The length of an output frame of the model."""

    @property
    @abstractmethod
    def latency_ms(self) -> float:
        """Milliseconds from the start of an output frame until it can be computed; infinite where it cannot stream."""

    @abstractmethod
    def runner(self, slots: int, own: bool = False) -> LiveRunner:
        """What computes the words of up to ``slots`` streams, which may bring ``own`` automata."""

    @abstractmethod
    def own_automata(self, search: Mapping[str, Any]) -> Any:
        """Those of a stream with keys of its own. Raises UserError where it cannot have them."""

    @abstractmethod
    def at_latency(self, ms: float) -> "BaseRecognizer":
        """A recogniser whose attention looks ``ms`` ahead. Raises UserError where there is no such one."""

    @property
    def languages(self) -> list[str]:
        """The languages that the model may be told, one of them; empty where it is told none."""
        return []

    def in_language(self, language: str) -> "BaseRecognizer":
        """A recogniser that is told this language. Raises UserError where there is no such one."""
        raise UserError(f"language {language!r}: this model is not told its language; leave it out")

    @property
    def streams(self) -> bool:
        """Whether the model can stream; what cannot has ``_whole``."""
        return True

    @property
    def tail(self) -> int:
        """Samples of silence at the model's rate that it hears after the last one, for words that are emitted late."""
        return round(self.delay.tail * self.sample_rate) if self.delay and self.segments else 0

    def _whole(self, samples: np.ndarray) -> Result:
        """The words of a whole utterance (T,) at the model's rate, of a model that cannot stream."""
        raise NotImplementedError

    def _set_endpoint(self, segments: bool, endpoint: Endpoint) -> None:
        """``segments`` are its search's; ``endpoint`` is for streams that ask for nothing. Raises as ``usable_endpoint``."""
        self.segments = segments
        default = ENDPOINT if segments else None
        self.endpoint = default if endpoint is ENDPOINT else self.usable_endpoint(endpoint)

    def usable_endpoint(self, endpoint: Endpoint) -> EndpointConfig | None:
        """The rules of a stream that asked for ``endpoint``, an EndpointConfig or its keys; ENDPOINT itself asks for nothing.

        Raises ConfigError for wrong keys, and where one was asked of a search without ``segments``.
        """
        if endpoint is ENDPOINT:
            return self.endpoint
        if endpoint is not None and not self.segments:
            raise ConfigError("endpoint: this head names a whole recording, which has one segment; leave it out")
        return parse_endpoint(endpoint)

    def stream(
        self,
        sample_rate: int | None = None,
        search: Mapping[str, Any] | None = None,
        segments_only: bool = False,
        endpoint: Endpoint = ENDPOINT,
    ) -> Stream:
        """A live stream of samples at ``sample_rate`` Hz (the model's own unless given); the others as in `Session`."""
        rate = self.sample_rate if sample_rate is None else sample_rate
        if rate < 1:
            raise UserError(f"stream: sample_rate must be positive, got {rate}")
        return Stream(self, rate, search, segments_only, endpoint)

    @overload
    def transcribe(self, audio: Audio, sample_rate: int | None = None, accept_truncated: bool = False) -> Result: ...
    @overload
    def transcribe(
        self, audio: list[Audio], sample_rate: int | None = None, accept_truncated: bool = False
    ) -> list[Result]: ...
    def transcribe(self, audio: Any, sample_rate: int | None = None, accept_truncated: bool = False) -> Any:
        """The words of one recording, or of each in a list.

        Recordings of a list share the steps of the model, many at once. A recording is a path, a file opened for reading bytes
        (also ``io.BytesIO``), an array or tensor (T,) at ``sample_rate`` Hz (the model's own unless given), or a pair (rate,
        array). A file is read, and any audio stepped, in long pieces, so that hours take no more memory than a minute. A file
        that is cut short is refused, or with ``accept_truncated`` taken as far as it goes. Raises UserError for audio that
        cannot be used.
        """
        if not isinstance(audio, list | tuple) or is_pair(audio):
            return self._transcribe(audio, sample_rate, accept_truncated, self.stream)
        results = []
        for result in self.transcribe_each(audio, sample_rate, accept_truncated):
            if isinstance(result, UserError):
                raise result
            results.append(result)
        return results

    def transcribe_each(
        self,
        audio: Sequence[Audio],
        sample_rate: int | None = None,
        accept_truncated: bool = False,
        at_once: int = AT_ONCE,
    ) -> Iterator[Result | UserError]:
        """As ``transcribe`` of a list, each result as it comes, in order; for audio that cannot be used its error.

        ``at_once`` recordings share each step of the model.
        """

        def attempt(one: Audio) -> Result | UserError:
            try:
                return self._transcribe(one, sample_rate, accept_truncated, opened)
            except UserError as error:
                return error

        if len(audio) < 2 or not self.streams:
            opened: Callable[[int], Session] = self.stream
            yield from map(attempt, audio)
            return
        with Engine(self, min(at_once, len(audio))) as engine:
            opened = partial(engine.session, wait=True)
            yield from in_order(attempt, audio, engine.slots)

    def _transcribe(
        self, audio: Audio, sample_rate: int | None, accept_truncated: bool, opened: Callable[[int], Session]
    ) -> Result:
        source = pieces(audio, sample_rate, self.sample_rate, accept_truncated)
        if not self.streams:
            return self._whole(whole(source, self.sample_rate))
        first, rate = next(source)
        with opened(rate) as session:
            session.accept(first)
            for samples, _ in source:
                session.accept(samples)
        return session.partial()
