"""Tune what weighs in a beam's search, on dev: the encoder runs once, then a search for each setting that is tried."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from audiorec_kernels.precision import full_precision
from torch import Tensor

from audiorec.data.kaldi import Recordings, read_data_dir
from audiorec.data.select import evenly
from audiorec.errors import ConfigError
from audiorec.evaluation.decode import batches
from audiorec.evaluation.wer import score
from audiorec.models.rescored import Rescored
from audiorec.progress import progress
from audiorec.search import Automaton, Search, SearchConfig, Words, build_automata, build_words, decode
from audiorec.text import Normalizer
from audiorec.transcript.reading import read

if TYPE_CHECKING:
    from audiorec.recognizer import Recognizer

RANGES: dict[str, tuple[float, ...]] = {  # tried where nothing else is asked for
    "lm_weight": (0.1, 0.2, 0.3, 0.5, 0.7),
    "lm_bonus": (0.0, 0.5, 1.0, 1.5),
    "word_lm_weight": (0.2, 0.4, 0.6, 0.8, 1.0, 1.3),
    "word_bonus": (-2.0, -1.0, 0.0, 1.0, 2.0),
    "unk_score": (-8.0, -6.0, -4.0, -2.0),
    "ilm_weight": (0.1, 0.2, 0.3, 0.4),
    "prior_weight": (0.0, 0.3, 0.6, 0.8, 1.0),
    "fuse_weight": (0.1, 0.2, 0.3, 0.5),
    "fuse_bonus": (0.0, 0.5, 1.0, 1.5),
    "rescore_weight": (0.1, 0.2, 0.3, 0.5, 0.8),
    "rescore_bonus": (0.0, 0.5, 1.0, 2.0),
}
NEEDS = {
    "lm_weight": "lm",
    "lm_bonus": "lm",
    "word_lm_weight": "word_lm",
    "word_bonus": "lexicon",
    "unk_score": "unk_score",
    "ilm_weight": "ilm_weight",
    "prior_weight": "prior_weight",
    "fuse_weight": "fuse",
    "fuse_bonus": "fuse",
    "rescore_weight": "rescore",
    "rescore_bonus": "rescore",
}
ROUNDS = 3


class Trial(NamedTuple):
    """A setting of the tuned keys, and its word error rate."""

    setting: dict[str, float]
    wer: float


def ranges(search: SearchConfig, given: Mapping[str, Sequence[float]]) -> dict[str, Sequence[float]]:
    """The values to try of each key: those that are ``given``, else the usual ones of each part that the search has.

    Raises ConfigError for a key that is not tuned, or has no effect in this search.
    """
    if search.kind != "beam":
        raise ConfigError("tune: a greedy search has nothing to tune; add --search beam and an n-gram or a lexicon")
    usable = {key: values for key, values in RANGES.items() if getattr(search, NEEDS[key]) is not None}
    for key in given:
        if key not in RANGES:
            raise ConfigError(f"tune: no setting {key!r}; it tunes {', '.join(RANGES)}")
        if key not in usable:
            raise ConfigError(f"tune: {key} has no effect without {NEEDS[key]}")
    if not usable:
        raise ConfigError("tune: this search has nothing to tune; give it an n-gram (--lm) or a lexicon (--lexicon)")
    return dict(given) or usable


def tune(
    recognizer: "Recognizer",
    data: Path | str,
    normalize: Normalizer,
    tried: Mapping[str, Sequence[float]],
    utterances: int | None = None,
) -> Iterator[Trial]:
    """Every setting that is tried, as it is: one key after another over all its values, the others at the best so far.

    It ends when a round over all keys finds nothing better, or after three. The search's own setting comes first. ``utterances``
    is how many of ``data`` are decoded, evenly chosen.
    """
    spoken = [u for u in read_data_dir(data) if u.text]
    chosen = evenly(spoken, utterances or len(spoken))
    references = {u.id: normalize(u.text) for u in chosen}
    frames = list(encoded(recognizer, batches(chosen, Recordings(), recognizer.sample_rate)))
    searching = _Searching(recognizer)
    found: dict[tuple[float, ...], float] = {}

    def trial(setting: dict[str, float]) -> Trial:
        said: dict[str, str] = {}
        search = searching.search(setting)
        with progress("decoding", len(chosen)) as advance:
            for names, x, lengths in frames:
                said |= zip(names, searching.texts(search, x, lengths), strict=True)
                advance(len(names))
        return Trial(setting, score(references, said).wer)

    best = trial({key: getattr(recognizer.search_config, key) for key in tried})
    found[tuple(best.setting.values())] = best.wer
    yield best
    for _ in range(ROUNDS):
        before = best
        for key, values in tried.items():
            for value in values:
                setting = {**best.setting, key: value}
                if tuple(setting.values()) in found:
                    continue
                one = trial(setting)
                found[tuple(setting.values())] = one.wer
                yield one
                best = min(best, one, key=lambda each: each.wer)  # the earlier of equal ones
        if best is before:
            return


class _Searching:
    """Searches of a recogniser under other settings. Files are read once, at a weight of 1."""

    def __init__(self, recognizer: "Recognizer"):
        self.recognizer = recognizer
        config = recognizer.search_config
        self.config = config
        self.ngrams = 1 if config.lm else 0
        plain = config.model_copy(update={"lm_weight": 1.0, "lm_bonus": 0.0, "word_lm_weight": 1.0, "word_bonus": 0.0})
        self.words = build_words(plain, recognizer.tokenizer, recognizer.normalize)
        self.automata = build_automata(plain, recognizer.tokenizer, recognizer.normalize, self.words)

    def search(self, setting: Mapping[str, float]) -> Search:
        """The search of a setting."""
        config = self.config.model_copy(update=dict(setting))
        ngrams = [reweighted(one, config.lm_weight, config.lm_bonus) for one in self.automata[: self.ngrams]]
        words = self.words
        if words:
            lm = reweighted(words.lm, config.word_lm_weight, config.word_bonus)
            words = Words(words.lexicon, lm, config.unk_score, self.recognizer.tokenizer.begins_word)
        automata = (*ngrams, *self.automata[self.ngrams :])
        fusion = self.recognizer.fusion
        fusion = fusion and fusion.weighted(config.fuse_weight, config.fuse_bonus)
        search = self.recognizer.model.search(self.recognizer.head, config, automata, 0, words, fusion)
        if not (rescorer := self.recognizer.rescorer):
            return search
        return Rescored(search, rescorer.weighted(config.rescore_weight, config.rescore_bonus))

    def texts(self, search: Search, x: Tensor, lengths: Tensor) -> list[str]:
        """What it says of encoder frames x (B, T, C), lengths (B,)."""
        with torch.inference_mode(), full_precision(x):
            decoded = decode(search, x, lengths)
        tokenizer = self.recognizer.tokenizer
        return [" ".join(word.text for word in read(tokenizer, said + ending.best)) for said, ending in decoded]


def reweighted(automaton: Automaton, weight: float, bonus: float) -> Automaton:
    """An n-gram of weight 1 with another weight, and a bonus for each symbol."""
    arcs = automaton.keys, weight * automaton.weights + bonus, automaton.targets
    states = automaton.failure, weight * automaton.failure_weights, weight * automaton.final
    return Automaton.of_arrays(automaton.symbols, *arcs, *states, start=automaton.start)


@torch.inference_mode()
def encoded(
    recognizer: "Recognizer", source: Iterator[tuple[list[str], list[np.ndarray]]]
) -> Iterator[tuple[list[str], Tensor, Tensor]]:
    """Ids, encoder frames (B, T, C) and their lengths of each batch, heard as ``transcribe_batch`` hears it."""
    for names, samples in source:
        sizes = torch.tensor([len(one) + recognizer.tail for one in samples])
        padded = torch.zeros(len(samples), int(sizes.max()))
        for row, one in zip(padded, samples, strict=True):
            row[: len(one)] = torch.from_numpy(one)
        with full_precision(padded):
            yield names, *recognizer.model(padded.to(recognizer.device), sizes.to(recognizer.device))
