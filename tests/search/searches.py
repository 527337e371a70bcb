"""Every search of the library in small, for the laws on tokens: a new one is one line."""

from types import SimpleNamespace
from typing import Any

import torch

from audiorec.config import parse
from audiorec.decoders import PREDICTORS, Joiner
from audiorec.models.language import LanguageConfig, LanguageModel
from audiorec.models.rescored import Rescored, Rescorer
from audiorec.search import (
    BlankSkip,
    CtcBeamSearch,
    CtcGreedySearch,
    FramesSearch,
    Fusion,
    TdtGreedySearch,
    TransducerBeamSearch,
    TransducerGreedySearch,
)
from audiorec.search.automaton import Automaton
from audiorec.search.hotwords import context_graph
from audiorec.search.lexicon import Entry, Lexicon
from audiorec.search.stretches import Rules
from audiorec.search.words import Words

DIM, VOCABULARY = 6, 5
DURATIONS = (0, 1, 2, 4)


def parts(predictor: str, outputs: int = VOCABULARY, activation: str = "tanh", **options) -> tuple:
    """A predictor and a joiner whose random weights give symbols and blanks in turn."""
    torch.manual_seed(5)
    predictor = PREDICTORS.build({"kind": predictor, "dim": 8, **options}, VOCABULARY).eval()
    joiner = Joiner(DIM, 8, 16, outputs, activation)
    with torch.no_grad():
        for parameter in [*predictor.parameters(), *joiner.parameters()]:
            parameter.mul_(3)
        joiner.output.bias.zero_()[0] = 3.0
    return predictor, joiner


def nemo() -> tuple:
    """The parts of NeMo's transducers."""
    return parts("lstm", activation="relu", layers=2, start="zero")


def ctc(x: torch.Tensor) -> torch.Tensor:
    return x.log_softmax(-1)


def automata(symbols: int = DIM) -> tuple[Automaton, Automaton]:
    """A bigram of random weights, where half of the pairs back off, and hotwords that begin and end alike."""
    torch.manual_seed(6)
    weights = torch.randn(symbols + 1, symbols).log_softmax(-1).tolist()
    arcs = {(0, symbol): (weights[0][symbol], 1 + symbol) for symbol in range(symbols)}
    arcs |= {(1 + a, b): (weights[1 + a][b], 1 + b) for a in range(symbols) for b in range(symbols) if (a + b) % 2}
    bigram = Automaton(symbols, arcs, [(-0.3, 0)] * (symbols + 1), weights[0] + [-1.0])
    return bigram, context_graph({(1, 2, 3): 1.0, (2, 3, 4): 0.5, (2, 3): 0.7, (4,): 0.2}, symbols)


def lexicon(symbols: int = DIM) -> Lexicon:
    """Five words and silence: homophones, one word that begins another, two pronunciations, a token said twice."""
    entries = [
        ((2,), "a"),
        ((2, 1), "b"),
        ((2, 1), "c"),
        ((3,), "b", -0.4),
        ((3, 3), "d"),
        ((3, 1, 2), "e"),
        ((1,), ""),
    ]
    names = ["a", "b", "c", "d", "e", ""]
    return Lexicon.of(names, [Entry(names.index(word) + 1, tokens, *more) for tokens, word, *more in entries], symbols)


def word_lm(tree: Lexicon) -> Automaton:
    """A bigram of the lexicon's words and one for all others."""
    return automata(len(tree.words) + 1)[0]


def words(symbols: int = DIM) -> Words:
    """Of these words a bigram; others cost 0.5 and begin with an even token."""
    tree = lexicon(symbols)
    return Words(tree, word_lm(tree), -0.5, [token % 2 == 0 for token in range(symbols)])


def sets(symbols: int = DIM) -> list[tuple[Automaton, ...]]:
    """What rows may bring: nothing, an n-gram, hotwords or both; some bring the same."""
    (bigram, hotwords), n = automata(symbols), symbols
    others = context_graph({(3,): 1.5, (1, 1): 0.5, (2, 4, 1, 3): 0.75}, n)
    arcs = {(0, symbol): (-0.2 * symbol, 1 if symbol == 2 else 0) for symbol in range(n)}
    pair = Automaton(n, arcs | {(1, 3): (1.0, 1)}, [(0.0, 0), (-0.1, 0)], [0.0, -2.0], start=1)
    return [(), (bigram, hotwords), (others,), (bigram,), (pair, others), (hotwords,)]


def beam(predictor: str, **options) -> TransducerBeamSearch:
    predictor, joiner = parts(predictor)
    with torch.no_grad():
        joiner.output.bias[0] = 1.5  # the sum over alignments favours few symbols
    return TransducerBeamSearch(predictor, joiner, **options)


def language(symbols: int) -> LanguageModel:
    """A language model of random weights that says something."""
    torch.manual_seed(8)
    model = LanguageModel(parse(LanguageConfig, {"dim": 8, "pattern": ["min_gru", "lstm"]}), symbols)
    with torch.no_grad():
        model.embedding.weight.mul_(60)
    return model.eval()


def fusion(symbols: int = DIM, weight: float = 0.7, bonus: float = 0.3) -> Fusion:
    tokenizer: Any = SimpleNamespace(pieces=list(range(symbols)))
    return Fusion(language(symbols), tokenizer, tokenizer, weight, bonus)


def rescorer(words: bool, symbols: int = DIM) -> Rescorer:
    """A word is spelled by two of the language model's symbols."""
    tokenizer: Any = SimpleNamespace(
        pieces=list(range(symbols)),
        begins_word=[token % 2 == 0 for token in range(symbols)],
        encode=lambda word: [1 + ord(word) % (symbols - 1), 1 + ord(word) // 2 % (symbols - 1)],
    )
    return Rescorer(language(symbols), tokenizer, tokenizer, 0.7, 0.3, words)


def known_words() -> Words:
    """Those of ``words``, and no others."""
    tree = lexicon()
    return Words(tree, word_lm(tree))


SEARCHES = {
    "ctc greedy": lambda: CtcGreedySearch(lambda x: x),
    "greedy": lambda: TransducerGreedySearch(*parts("stateless")),
    "greedy, lstm predictor": lambda: TransducerGreedySearch(*parts("lstm"), max_symbols=3, block=3),
    "greedy, one symbol a frame": lambda: TransducerGreedySearch(*parts("lstm"), max_symbols=1),
    "greedy, two lstm layers from zeros, relu": lambda: TransducerGreedySearch(*nemo()),
    "tdt greedy": lambda: TdtGreedySearch(*parts("stateless", VOCABULARY + len(DURATIONS)), DURATIONS),
    "tdt greedy, lstm predictor": lambda: TdtGreedySearch(*parts("lstm", VOCABULARY + len(DURATIONS)), DURATIONS),
    "frames": lambda: FramesSearch(ctc, Rules()),
    "frames, smoothed": lambda: FramesSearch(ctc, Rules(0.4, 0.1, 2, 3)),
    "greedy, blanks skipped": lambda: BlankSkip(TransducerGreedySearch(*parts("stateless")), ctc, 0.5),
    "ctc beam": lambda: CtcBeamSearch(ctc),
    "ctc beam of one": lambda: CtcBeamSearch(ctc, beam=1),
    "ctc beam, little room": lambda: CtcBeamSearch(ctc, beam=6, window=3),
    "ctc beam, none far below": lambda: CtcBeamSearch(ctc, beam=6, threshold=2.0),
    "ctc beam, n-gram and hotwords": lambda: CtcBeamSearch(ctc, automata=automata()),
    "ctc beam, room for automata": lambda: CtcBeamSearch(ctc, columns=2),
    "ctc beam, words": lambda: CtcBeamSearch(ctc, beam=6, words=words()),
    "ctc beam, words and hotwords, little room": lambda: CtcBeamSearch(
        ctc, beam=3, window=5, automata=automata()[1:], words=words()
    ),
    "ctc beam, automata of rows": lambda: CtcBeamSearch(ctc, automata=automata(), columns=2),
    "ctc beam, fused": lambda: CtcBeamSearch(ctc, fusion=fusion()),
    "ctc beam, fused, words and hotwords": lambda: CtcBeamSearch(
        ctc, beam=6, window=5, automata=automata()[1:], words=words(), fusion=fusion()
    ),
    "ctc beam, rescored": lambda: Rescored(CtcBeamSearch(ctc, beam=6, window=5), rescorer(False)),
    "ctc beam, words, rescored": lambda: Rescored(CtcBeamSearch(ctc, beam=6, words=known_words()), rescorer(True)),
    "beam": lambda: beam("stateless"),
    "beam, lstm predictor": lambda: beam("lstm", beam=3),
    "beam, little room": lambda: beam("lstm", beam=6, window=3),
    "beam, none far below": lambda: beam("lstm", beam=6, threshold=2.0),
    "beam, n-gram and hotwords": lambda: beam("stateless", automata=automata(VOCABULARY)),
    "beam, words": lambda: beam("lstm", beam=6, words=words(VOCABULARY)),
    "beam, less of its internal language model": lambda: beam("lstm", ilm_weight=0.5, automata=automata(VOCABULARY)),
    "beam, fused, less of its internal language model": lambda: beam(
        "lstm", ilm_weight=0.5, automata=automata(VOCABULARY), fusion=fusion(VOCABULARY)
    ),
    "beam, automata of rows": lambda: beam("stateless", automata=automata(VOCABULARY), columns=3),
    "beam, blanks skipped": lambda: BlankSkip(beam("lstm"), ctc, 0.5),
    "beam, blanks skipped, rescored": lambda: Rescored(BlankSkip(beam("lstm"), ctc, 0.5), rescorer(False, VOCABULARY)),
}

# Searches whose rows may have automata of their own, by the options of a beam, and the symbols they know.
OWNERS = {
    "ctc beam": (lambda **options: CtcBeamSearch(ctc, **options), DIM),
    "ctc beam of one": (lambda **options: CtcBeamSearch(ctc, beam=1, **options), DIM),
    "beam": (lambda **options: beam("stateless", **options), VOCABULARY),
    "ctc beam, words": (lambda **options: CtcBeamSearch(ctc, words=words(), **options), DIM),
    "beam, lstm predictor": (lambda **options: beam("lstm", beam=3, window=5, **options), VOCABULARY),
    "beam, words": (lambda **options: beam("stateless", words=words(VOCABULARY), **options), VOCABULARY),
    "beam, blanks skipped": (lambda **options: BlankSkip(beam("lstm", **options), ctc, 0.5), VOCABULARY),
}
