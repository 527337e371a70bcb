"""``Recognizer``: an exported model that transcribes files, arrays and live streams, without torch."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from audiorec_kernels.beam import ABSENT, LIBRARY

from audiorec.config import parse
from audiorec.errors import ConfigError, UserError
from audiorec.live import BaseRecognizer
from audiorec.runtime.beam import CtcBeamSearch, TransducerBeamSearch
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
from audiorec.search.config import COLUMNS, GREEDY, SearchConfig, build_automata, build_words, session_automata
from audiorec.search.priors import NO_PRIORS, UNMEASURED, load_priors
from audiorec.text import Tokenizer, load_tokenizer
from audiorec.transcript import ENDPOINT, Delay, Endpoint, EndpointConfig, parse_endpoint
from audiorec.transcript.delays import delay_name, load_delays


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
        priors: np.ndarray | None = None,
    ):
        self.tokenizer = tokenizer
        self.head = export.head.name
        self.delays = delays
        self.priors = priors
        self.normalize = export.normalize
        self.search_config = search
        self.words = build_words(search, tokenizer, self.normalize)
        self.automata = build_automata(search, tokenizer, self.normalize, self.words)
        self._compute(export, graphs)
        self._set_endpoint(self._search.segments, endpoint)

    def _compute(self, export: Export, graphs: Graphs) -> None:
        self.export = export
        self.graphs = graphs
        self.delay = self.delays.get(delay_name(self.head, export.look_ahead_ms))
        self._search = self._search_of()

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
        base = self.search_config, self.automata, self.tokenizer, self.normalize
        return session_automata(search, *base, self.words)

    def at_latency(self, ms: float) -> "Recognizer":
        """A recogniser whose attention looks ``ms`` ahead; this one stays as it is.

        Raises UserError naming the latencies that were exported where this is none of them.
        """
        export, view = self.export.at(ms), copy.copy(self)
        if export is not self.export:
            view._compute(export, self.graphs.at(export))
        return view

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
        options = (
            config.beam,
            config.window,
            self.automata,
            columns,
            self.export.vocabulary,
            self.words,
            config.beam_threshold,
        )
        if config.kind == "beam" and head.kind == "ctc":
            return CtcBeamSearch(*options, priors=self.priors)
        if head.kind == "ctc":
            return CtcGreedySearch()
        if head.kind == "classify":
            return ClassifySearch(self.export.vocabulary)
        if head.kind == "frames":
            return FramesSearch(head.rules)
        parts = self.graphs.predict, self.graphs.join, *self.graphs.no_symbols()
        if config.kind == "beam":
            return TransducerBeamSearch(*parts, *options, ilm_weight=config.ilm_weight or 0.0)
        max_symbols = config.max_symbols or head.max_symbols
        if head.kind == "tdt":
            return TdtGreedySearch(*parts, max_symbols, head.durations)
        return TransducerGreedySearch(*parts, max_symbols)


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
    ``search`` are as for a model folder; here they may only be cpu or auto, the head that was exported, without
    ``skip_blank``, which takes a second head, and without ``fuse`` and ``rescore``, which take torch.
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
    priors = None
    if config.prior_weight:
        measured = load_priors(folder, export.vocabulary)
        if export.head.name not in measured:
            raise ConfigError(f"{UNMEASURED}, before the export")
        priors = config.prior_weight * measured[export.head.name]
    graphs, delays = Graphs(folder, export, threads), load_delays(folder)
    return Recognizer(export, graphs, tokenizer, delays, endpoint, config, priors)


def _parse_search(search: Any, export: Export) -> SearchConfig:
    """``search``: a SearchConfig, or its keys. Raises ConfigError for what this runtime or machine lacks."""
    config = search if isinstance(search, SearchConfig) else parse(SearchConfig, dict(search or {}), prefix="search")
    if config.skip_blank is not None:
        raise ConfigError(
            "search.skip_blank: takes a CTC head beside the transducer's, and an export has one; leave it out"
        )
    for key in ("fuse", "rescore"):
        if getattr(config, key) is not None:
            raise ConfigError(
                f"search.{key}: a recurrent language model needs torch: load the model that was exported, audiorec.load(MODEL, "
                "…)"
            )
    several = export.head.kind in ("rnnt", "tdt") and export.head.max_symbols > 1
    if config.max_symbols not in (None, 1) and not several:
        raise ConfigError(
            f"search.max_symbols: head {export.head.name!r} emits one symbol a frame at most; leave it out"
        )
    if config.kind == "beam" and export.head.kind in ("tdt", "classify"):
        raise ConfigError(f"search.kind: a {export.head.kind} head has no beam; leave it greedy")
    if config.ilm_weight and export.head.kind == "ctc":
        raise ConfigError("search.ilm_weight: CTC has no internal language model; leave it out, or use a transducer")
    if config.prior_weight and export.head.kind != "ctc":
        raise ConfigError(NO_PRIORS)
    if config.kind == "beam" and LIBRARY is None:
        raise ConfigError(f"search.kind: a beam needs the native kernels: {ABSENT}; install them, or search greedily")
    return config
