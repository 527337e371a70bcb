"""``Recognizer``: a trained model that transcribes files, arrays and live streams."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from audiorec_kernels.precision import full_precision

from audiorec.audio.levels import Levels
from audiorec.config import parse
from audiorec.errors import UserError
from audiorec.live import BaseRecognizer
from audiorec.live.inputs import to_array
from audiorec.models import AsrModel, delay_name, find_device, load_language_model, load_model, read_delays
from audiorec.models.rescored import Rescored, Rescorer
from audiorec.recognizer.runner import Runner
from audiorec.search import (
    COLUMNS,
    GREEDY,
    Automaton,
    Fusion,
    Search,
    SearchConfig,
    Words,
    build_automata,
    build_words,
    conclude,
    search_parts,
    session_automata,
)
from audiorec.text import Normalizer, Tokenizer
from audiorec.transcript import (
    ENDPOINT,
    Delay,
    Endpoint,
    EndpointConfig,
    Endpointer,
    Result,
    Transcript,
    parse_endpoint,
)
from audiorec.transcript.result import join

NORMALIZER = Normalizer()


class Recognizer(BaseRecognizer):
    """A model with its tokeniser. Offline and live use give the same words (docs/design.md, section 2).

    It shares the weights of ``model``, which itself stays in its mode and type; weights of other types are copied to float32.
    ``endpoint`` says where a segment of speech ends, in recordings as in streams; None: all is one segment.
    """

    def __init__(
        self,
        model: AsrModel,
        tokenizer: Tokenizer,
        head: str | None = None,
        search: SearchConfig = GREEDY,
        automata: Sequence[Automaton] = (),
        delays: Mapping[str, Delay] = MappingProxyType({}),
        endpoint: EndpointConfig | None = ENDPOINT,
        normalize: Normalizer = NORMALIZER,
        words: Words | None = None,
        rescorer: Rescorer | None = None,
        fusion: Fusion | None = None,
    ):
        model = model.exit(head)
        floats = [tensor.dtype for tensor in model.state_dict().values() if tensor.is_floating_point()]
        single = all(dtype == torch.float32 for dtype in floats)
        self.model = (model.view() if single else copy.deepcopy(model).float()).eval()
        self.tokenizer = tokenizer
        self.head = head
        self.search_config = search
        self.device = next(model.parameters()).device
        self.automata = tuple(automata)
        self.words = words
        self.rescorer = rescorer
        self.fusion = fusion
        self.delays = delays
        self.delay = delays.get(delay_name(head or next(iter(model.heads)), model.look_ahead_ms))
        self.normalize = normalize
        self._set_endpoint(self.search().segments, endpoint)  # what the head does not offer is an error here already

    @property
    def streams(self) -> bool:
        """Whether the model can stream; one that cannot sees whole utterances."""
        return self.model.streams

    @property
    def sample_rate(self) -> int:
        """The rate of the model's features, Hz; other rates are resampled."""
        return self.model.sample_rate

    @property
    def frame_seconds(self) -> float:
        """The length of an output frame of the model."""
        return self.model.frame_seconds

    @property
    def latency_ms(self) -> float:
        """Milliseconds from the start of an output frame until it can be computed; infinite where it cannot stream."""
        return self.model.latency_ms

    def search(self, columns: int = 0) -> Search:
        """The search of its head; with ``columns``, of which streams may bring automata of their own."""
        columns = columns if self.search_config.kind == "beam" else 0
        search = self.model.search(self.head, self.search_config, self.automata, columns, self.words, self.fusion)
        return Rescored(search, self.rescorer) if self.rescorer else search

    def own_automata(self, search: Mapping[str, Any]) -> tuple[Automaton, ...]:
        """Those of a stream with keys of its own. Raises UserError where it cannot have them."""
        base = self.search_config, self.automata, self.tokenizer, self.normalize
        return session_automata(search, *base, self.words)

    def runner(self, slots: int, own: bool = False) -> Runner:
        """What computes the words of up to ``slots`` streams, which may bring ``own`` automata.

        Raises UserError where the model cannot stream.
        """
        if not self.model.streams:
            raise UserError(
                "stream: this model sees whole utterances and cannot stream; choose a latency, or transcribe"
            )
        return Runner(self.model, self.search(COLUMNS if own else 0), slots, self.device)

    def at_latency(self, ms: float) -> "Recognizer":
        """A recogniser whose attention looks ``ms`` ahead; it shares the weights, and this one stays as it is.

        Raises UserError where the model was not trained for it.
        """
        return self._with(self.model.at_latency(ms))

    @property
    def languages(self) -> list[str]:
        """The languages that the model may be told, one of them; empty where it is told none."""
        return self.model.languages

    def in_language(self, language: str) -> "Recognizer":
        """A recogniser that is told this language; it shares the weights, and this one stays as it is.

        Raises UserError where the model is told no language, or does not have this one.
        """
        return self._with(self.model.in_language(language))

    def _with(self, model: AsrModel) -> "Recognizer":
        """The same of another view of the model."""
        return Recognizer(
            model,
            self.tokenizer,
            self.head,
            self.search_config,
            self.automata,
            self.delays,
            self.endpoint,
            self.normalize,
            self.words,
            self.rescorer,
            self.fusion,
        )

    def _whole(self, samples: np.ndarray) -> Result:
        return self.transcribe_batch([samples])[0]

    @torch.inference_mode()
    def transcribe_batch(self, utterances: Sequence[np.ndarray]) -> list[Result]:
        """Offline: whole utterances (T,) at the model's rate in one forward pass."""
        sizes = [len(samples) and len(samples) + self.tail for samples in utterances]
        lengths = torch.tensor(sizes, device=self.device)
        samples = torch.zeros(len(utterances), int(lengths.max()), device=self.device)
        search, levels = self.search(), []
        for row, utterance in zip(samples, utterances, strict=True):
            utterance = to_array(utterance, "utterance")
            row[: len(utterance)] = torch.from_numpy(utterance)
            levels.append(Levels(self.sample_rate, utterance))
        begins = self.tokenizer.begins_word
        endpointers = [Endpointer(self.endpoint, self.frame_seconds, one, begins) for one in levels]
        with full_precision(samples):
            x, lengths = self.model(samples, lengths)
            state = search.initial_state(len(x), self.device)
            parts, state = search_parts(search, x, lengths.tolist(), state, endpointers)
            endings = conclude(search, state)
        results = []
        for one, said, ending in zip(levels, parts, endings, strict=True):
            transcript = Transcript(self.tokenizer, self.frame_seconds, one, self.delay)
            segments = transcript.hear(said, one.seconds)
            nbest = transcript.alternatives(join(segments), ending.nbest)
            results.append(Result(segments + transcript.close(ending.best), ending.margin, nbest, one.seconds))
        return results


def load(
    path: str | Path,
    device: str | torch.device = "cpu",
    head: str | None = None,
    search: SearchConfig | Mapping[str, Any] = GREEDY,
    endpoint: Endpoint = ENDPOINT,
) -> Recognizer:
    """The recogniser of a model directory or of a run (``exp/…``). Raises UserError naming what is wrong with it.

    ``device`` is cpu, cuda, cuda:1, mps or auto. ``search`` is a SearchConfig or its keys: ``{"kind": "beam", "beam": 4,
    "lm": "digits.arpa", "hotwords": ["one two"]}``. ``endpoint`` is an EndpointConfig or its keys, which say where segments of
    speech end, or None for no segments.
    """
    search = parse(SearchConfig, search, prefix="search")
    endpoint = parse_endpoint(endpoint)
    device = find_device(device)
    model, tokenizer, config = load_model(path)
    if head is not None and head not in config.heads:
        raise UserError(f"{path}: has no head {head!r}; it has {', '.join(config.heads)}")
    normalize = config.tokenizer.normalize
    words = build_words(search, tokenizer, normalize)
    automata = build_automata(search, tokenizer, normalize, words)
    fusion = rescorer = None
    if search.fuse:
        language, own, _ = load_language_model(search.fuse)
        fusion = Fusion(language.to(device), own, tokenizer, search.fuse_weight, search.fuse_bonus)
    if search.rescore:
        language, own, _ = load_language_model(search.rescore)
        weights = search.rescore_weight, search.rescore_bonus
        rescorer = Rescorer(language.to(device), own, tokenizer, *weights, words is not None)
    delays = read_delays(path)
    helpers = words, rescorer, fusion
    return Recognizer(model.to(device), tokenizer, head, search, automata, delays, endpoint, normalize, *helpers)
