"""``Recognizer``: an exported model that transcribes files, arrays and live streams, without torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audiorec_kernels.beam import ABSENT, LIBRARY

from audiorec.config import parse
from audiorec.errors import ConfigError, UserError
from audiorec.live import BaseRecognizer
from audiorec.runtime.beam import CtcBeamSearch
from audiorec.runtime.folder import EXPORT, Export, is_export, read_export
from audiorec.runtime.graphs import Graphs
from audiorec.runtime.runner import OnnxRunner
from audiorec.runtime.search import (
    ClassifySearch,
    CtcGreedySearch,
    FramesSearch,
    NumpySearch,
    TdtGreedySearch,
    TransducerGreedySearch,
)
from audiorec.search.automaton import Automaton
from audiorec.search.config import COLUMNS, GREEDY, SearchConfig, build_automata, session_automata
from audiorec.text import Tokenizer, load_tokenizer
from audiorec.transcript import ENDPOINT, Delay, Endpoint, EndpointConfig, parse_endpoint
from audiorec.transcript.delays import delay_name, load_delays

WITH_TORCH = "load the model that was exported, with torch: audiorec.load(MODEL, search={…})"
NOT_HERE = "lexicon", "skip_blank"  # settings of a search that this runtime lacks


class Recognizer(BaseRecognizer):
    """The words of an exported model's one head, by a greedy search or a beam: those of ``audiorec.Recognizer`` of the model.

    ``endpoint`` says where a segment of speech ends, in recordings as in streams; None: all is one segment.
    """

    def __init__(
        self,
        export: Export,
        graphs: Graphs,
        tokenizer: Tokenizer,
        delays: Mapping[str, Delay],
        endpoint: EndpointConfig | None = ENDPOINT,
        search: SearchConfig = GREEDY,
    ):
        self.export = export
        self.graphs = graphs
        self.tokenizer = tokenizer
        self.head = export.head.name
        self.delays = delays
        self.delay = delays.get(delay_name(self.head, export.look_ahead_ms))
        self.normalize = export.normalize
        self.search_config = search
        self.automata = build_automata(search, tokenizer, self.normalize)
        self._search = self._search_of()
        self._set_endpoint(self._search.segments, endpoint)

    @property
    def sample_rate(self) -> int:
        """The rate of the model's features, Hz; other rates are resampled."""
        return self.export.sample_rate

    @property
    def frame_seconds(self) -> float:
        """The length of an output frame of the model."""
        return self.export.frame_seconds

    @property
    def latency_ms(self) -> float:
        """Milliseconds from the start of an output frame until it can be computed."""
        return self.export.latency_ms

    def runner(self, slots: int, own: bool = False) -> OnnxRunner:
        """What computes the words of up to ``slots`` streams."""
        return OnnxRunner(self.graphs, self._search_of(COLUMNS) if own else self._search, slots)

    def own_automata(self, search: Mapping[str, Any]) -> tuple[Automaton, ...] | None:
        """Those of a stream with keys of its own; None without any. Raises UserError where it cannot have them."""
        if not search:
            return None
        return session_automata(search, self.search_config, self.automata, self.tokenizer, self.normalize)

    def at_latency(self, ms: float) -> "Recognizer":
        """Itself at the latency that it was exported at. Raises UserError for another."""
        if ms != self.export.look_ahead_ms:
            only = self.export.look_ahead_ms
            has = "its only one" if only is None else f"{only:g} ms"
            raise UserError(f"latency {ms:g} ms: this export has {has}; export the model at the other one")
        return self

    @property
    def languages(self) -> list[str]:
        """The language that it was exported in, if it was told one."""
        return [] if self.export.language is None else [self.export.language]

    def in_language(self, language: str) -> "Recognizer":
        """Itself in the language that it was exported in. Raises UserError for another."""
        told = self.export.language
        if language != told:
            but = (
                "is not told its language; leave it out"
                if told is None
                else f"is in {told}; export the model in the other one"
            )
            raise UserError(f"language {language!r}: this export {but}")
        return self

    def _search_of(self, columns: int = 0) -> NumpySearch:
        """The search of its head; with ``columns``, of which streams may bring automata of their own."""
        head, config = self.export.head, self.search_config
        if config.kind == "beam":
            return CtcBeamSearch(config.beam, config.window, self.automata, columns, self.export.vocabulary)
        if head.kind == "ctc":
            return CtcGreedySearch()
        if head.kind == "classify":
            return ClassifySearch(self.export.vocabulary)
        if head.kind == "frames":
            return FramesSearch(head.rules)
        parts = self.graphs.predict, self.graphs.join, *self.graphs.no_symbols(), config.max_symbols or head.max_symbols
        return TdtGreedySearch(*parts, head.durations) if head.kind == "tdt" else TransducerGreedySearch(*parts)


def load(
    path: str | Path,
    device: str = "cpu",
    head: str | None = None,
    search: Any = None,
    endpoint: Endpoint = ENDPOINT,
    threads: int = 1,
) -> Recognizer:
    """The recogniser of an exported folder. Raises UserError naming what is wrong with it.

    ``threads`` compute one step; a step of a live stream is small, so more than one seldom pays. ``device``, ``head`` and
    ``search`` are as for a model folder; here they may only be cpu or auto, the head that was exported, and greedy (with
    ``max_symbols`` where the head is a transducer) or, of CTC, a beam with hotwords and an n-gram but without a lexicon.
    """
    folder = Path(path)
    if not is_export(folder):
        raise UserError(f"{folder / EXPORT}: missing; the onnx runtime reads what `audiorec export` writes")
    export = read_export(folder)
    config = _parse_search(search, export)
    if threads < 1:
        raise UserError(f"threads must be 1 or more, got {threads}")
    if device not in ("cpu", "auto"):
        raise UserError(f"device {device}: the onnx runtime computes on the CPU; leave device out, or load with torch")
    if head not in (None, export.head.name):
        raise UserError(f"{folder}: has no head {head!r}; the one that was exported is {export.head.name}")
    endpoint = parse_endpoint(endpoint)
    tokenizer = load_tokenizer(folder)
    if tokenizer.size != export.vocabulary:
        raise UserError(
            f"{folder / tokenizer.file}: has {tokenizer.size} pieces, {EXPORT} says {export.vocabulary}; the files are not of "
            "one export"
        )
    return Recognizer(export, Graphs(folder, export, threads), tokenizer, load_delays(folder), endpoint, config)


def _parse_search(search: Any, export: Export) -> SearchConfig:
    """``search``: a SearchConfig, or its keys. Raises ConfigError for what this runtime or machine lacks."""
    config = search if isinstance(search, SearchConfig) else parse(SearchConfig, dict(search or {}), prefix="search")
    for key in NOT_HERE:
        if key in config.model_fields_set and getattr(config, key) is not None:
            raise ConfigError(f"search.{key}: not in the onnx runtime; {WITH_TORCH}")
    several = export.head.kind in ("rnnt", "tdt") and export.head.max_symbols > 1
    if config.max_symbols not in (None, 1) and not several:
        raise ConfigError(
            f"search.max_symbols: head {export.head.name!r} emits one symbol a frame at most; leave it out"
        )
    if config.kind == "beam" and export.head.kind != "ctc":
        raise ConfigError(f"search.kind: the onnx runtime searches {export.head.kind} greedily; {WITH_TORCH}")
    if config.kind == "beam" and LIBRARY is None:
        raise ConfigError(f"search.kind: a beam needs the native kernels: {ABSENT}; install them, or search greedily")
    return config
