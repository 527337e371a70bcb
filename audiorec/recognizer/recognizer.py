"""``Recognizer``: a trained model that transcribes files, arrays and live streams."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, overload

import numpy as np
import torch
from audiorec_kernels.precision import full_precision

from audiorec.config import parse
from audiorec.errors import UserError
from audiorec.models import AsrModel, delay_name, find_device, load_model, read_delays
from audiorec.recognizer.inputs import Audio, is_pair, pieces, to_array, whole
from audiorec.recognizer.result import Result, alternatives, make_segment
from audiorec.recognizer.stream import Stream
from audiorec.search import (
    GREEDY,
    Automaton,
    Delay,
    Hypothesis,
    Search,
    SearchConfig,
    WordTimes,
    build_automata,
    decode,
)
from audiorec.text import Tokenizer


class Recognizer:
    """A model with its tokeniser. Offline and live use give the same words (docs/design.md, section 2).

    It shares the weights of ``model``, which itself stays in its mode and type; weights of other types are copied to float32.
    """

    def __init__(
        self,
        model: AsrModel,
        tokenizer: Tokenizer,
        head: str | None = None,
        search: SearchConfig = GREEDY,
        automata: Sequence[Automaton] = (),
        delays: Mapping[str, Delay] = MappingProxyType({}),
    ):
        model = model.exit(head)
        floats = [tensor.dtype for tensor in model.state_dict().values() if tensor.is_floating_point()]
        single = all(dtype == torch.float32 for dtype in floats)
        self.model = (model.view() if single else copy.deepcopy(model).float()).eval()
        self.tokenizer = tokenizer
        self.head = head
        self.search_config = search
        self.device = next(model.parameters()).device
        self.automata = tuple(automaton.to(self.device) for automaton in automata)
        self.delays = delays
        self.delay = delays.get(delay_name(head or next(iter(model.heads)), model.look_ahead_ms))
        self.search()  # what the head does not offer is an error here already

    @property
    def sample_rate(self) -> int:
        """The rate of the model's features, Hz; other rates are resampled."""
        return self.model.sample_rate

    def search(self) -> Search:
        return self.model.search(self.head, self.search_config, self.automata)

    def stream(self, sample_rate: int | None = None) -> Stream:
        """A live stream of samples at ``sample_rate`` Hz (the model's own unless given)."""
        rate = self.sample_rate if sample_rate is None else sample_rate
        if rate < 1:
            raise UserError(f"stream: sample_rate must be positive, got {rate}")
        if not self.model.streams:
            raise UserError(
                "stream: this model sees whole utterances and cannot stream; choose a latency, or transcribe"
            )
        return Stream(self, rate)

    @overload
    def transcribe(self, audio: Audio, sample_rate: int | None = None, accept_truncated: bool = False) -> Result: ...
    @overload
    def transcribe(
        self, audio: list[Audio], sample_rate: int | None = None, accept_truncated: bool = False
    ) -> list[Result]: ...
    def transcribe(self, audio: Any, sample_rate: int | None = None, accept_truncated: bool = False) -> Any:
        """The words of one recording, or of each in a list.

        A recording is a path, a file opened for reading bytes (also ``io.BytesIO``), an array or tensor (T,) at
        ``sample_rate`` Hz (the model's own unless given), or a pair (rate, array). A file is read, and any audio stepped, in
        long pieces, so that hours take no more memory than a minute. A file that is cut short is refused, or with
        ``accept_truncated`` taken as far as it goes. Raises UserError for audio that cannot be used.
        """
        if isinstance(audio, list | tuple) and not is_pair(audio):
            return [self.transcribe(one, sample_rate, accept_truncated) for one in audio]
        source = pieces(audio, sample_rate, self.sample_rate, accept_truncated)
        if not self.model.streams:
            return self.transcribe_batch([whole(source, self.sample_rate)])[0]
        stream = None
        for samples, rate in source:
            stream = stream or self.stream(rate)
            stream.accept(samples)
        assert stream is not None  # audio without samples is refused
        return stream.finish()

    def at_latency(self, ms: float) -> "Recognizer":
        """A recogniser whose attention looks ``ms`` ahead; it shares the weights, and this one stays as it is.

        Raises UserError where the model was not trained for it.
        """
        view = self.model.at_latency(ms)
        return Recognizer(view, self.tokenizer, self.head, self.search_config, self.automata, self.delays)

    def word_times(self, samples: np.ndarray | None = None) -> WordTimes:
        """Begin and end of words in audio at the model's rate, of which these are the first samples (T,)."""
        return WordTimes(self.sample_rate, self.delay, samples)

    def result(
        self, best: Hypothesis, word_times: WordTimes, margin: float, nbest: Sequence[Hypothesis] = ()
    ) -> Result:
        """The hypotheses of a search as text with times."""
        segment = make_segment(self.tokenizer, best, self.model.frame_seconds, word_times)
        return Result([segment] if segment.text else [], margin, alternatives(self.tokenizer, nbest))

    @torch.inference_mode()
    def transcribe_batch(self, utterances: Sequence[np.ndarray]) -> list[Result]:
        """Offline: whole utterances (T,) at the model's rate in one forward pass."""
        lengths = torch.tensor([len(samples) for samples in utterances], device=self.device)
        samples = torch.zeros(len(utterances), int(lengths.max()), device=self.device)
        times = []
        for row, utterance in zip(samples, utterances, strict=True):
            utterance = to_array(utterance, "utterance")
            row[: len(utterance)] = torch.from_numpy(utterance)
            times.append(self.word_times(utterance))
        with full_precision(samples):
            decoded = decode(self.search(), *self.model(samples, lengths))
        return [self.result(one.best, at, one.margin, one.nbest) for one, at in zip(decoded, times, strict=True)]


def load(
    path: str | Path,
    device: str | torch.device = "cpu",
    head: str | None = None,
    search: SearchConfig | Mapping[str, Any] = GREEDY,
) -> Recognizer:
    """The recogniser of a model directory or of a run (``exp/…``). Raises UserError naming what is wrong with it.

    ``device`` is cpu, cuda, cuda:1, mps or auto. ``search`` is a SearchConfig or its keys: ``{"kind": "beam", "beam": 4,
    "lm": "digits.arpa", "hotwords": ["one two"]}``.
    """
    search = parse(SearchConfig, search, prefix="search")
    device = find_device(device)
    model, tokenizer, config = load_model(path)
    if head is not None and head not in config.heads:
        raise UserError(f"{path}: has no head {head!r}; it has {', '.join(config.heads)}")
    automata = build_automata(search, tokenizer, config.tokenizer.normalize)
    return Recognizer(model.to(device), tokenizer, head, search, automata, read_delays(path))
