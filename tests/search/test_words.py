"""Searching words: the beam with a lexicon against every sequence of words, each with its exact score."""

import math
from collections.abc import Iterable

import numpy as np
import pytest
import torch

from audiorec.search import Automaton, CtcBeamSearch, TransducerBeamSearch
from audiorec.search.words import INSIDE, Words
from tests.search.searches import DIM, VOCABULARY, automata, ctc, lexicon, parts, word_lm
from tests.search.test_beam import SYMBOLS, score

pytestmark = pytest.mark.usefixtures("form")

WIDE, SOME = 400, 150  # wide enough for all labels of four frames, of three with unknown words
BEGINS = [False, False, True, True, False]  # of each token, whether it may begin a word that is spelled


def sequences(words: Words, frames: int) -> dict[tuple, float]:
    """Every sequence of (token, word) of up to so many tokens → what the words score. Words and lexicon as ``Words`` has them."""
    known = list(pronunciations(words))
    found: dict[tuple, float] = {}

    def extend(labels: tuple, said: tuple, total: float, spelling: bool) -> None:
        found[labels] = total + score(said, [words.lm])
        room = frames - len(labels)
        for tokens, word, weight in known:
            if len(tokens) <= room:
                new = (*((token, INSIDE) for token in tokens[:-1]), (tokens[-1], word))
                heard = said if not words.lexicon.words[word - 1] else (*said, word - 1)
                extend(labels + new, heard, total + weight, False)
        if room and words.unk_score is not None:
            for token in range(1, words.lexicon.symbols):
                if BEGINS[token]:
                    unknown = (*said, words.unknown - 1)
                    extend((*labels, (token, words.unknown)), unknown, total + words.unk_score, True)
                elif spelling:
                    extend((*labels, (token, words.unknown)), said, total, True)

    extend((), (), 0.0, False)
    return found


def pronunciations(words: Words):
    """The tree read back: (tokens, word, weight) of every entry."""
    tree = words.lexicon
    spelled = [()]
    for node in range(1, tree.nodes):
        parent = int(tree.parent[node])
        assert tree.first[parent] <= node < tree.first[parent + 1]
        spelled.append((*spelled[parent], int(tree.symbol[node])))
    for node, tokens in enumerate(spelled):
        for entry in range(tree.ends[node], tree.ends[node + 1]):
            yield tokens, int(tree.word[entry]), float(tree.weight[entry])


def totals_of(words: Words, frames: int, reference, machines=()) -> dict[tuple, float]:
    """Every sequence of whole words that so many frames may say → its exact score. ``reference`` has those of tokens alone."""
    found = sequences(words, frames)
    spelled = {labels: tuple(token for token, _ in labels) for labels in found}
    sums = reference({*spelled.values()})
    named = {labels: tuple((token, words.texts[word]) for token, word in labels) for labels in found}
    return {
        named[labels]: sums[tokens] + found[labels] + score(tokens, machines)
        for labels, tokens in spelled.items()
        if sums[tokens] > -math.inf
    }


def heard(search, x, lengths, pieces, owner: int = 0):
    """Of each row of x (B, T, C) the labels that were committed, and the state after pieces of these sizes."""
    state, at, said = search.initial_state(len(x), owner=owner), 0, [()] * len(x)
    for size in pieces:
        tokens, state = search.step(x[:, at : at + size], (lengths - at).clamp(0, size), state)
        said = [one + labels_of(tokens.hypothesis(i)) for i, one in enumerate(said)]
        at += size
    return said, state


def labels_of(hypothesis) -> tuple:
    return tuple(zip(hypothesis.ids, hypothesis.words, strict=True)) if hypothesis.ids else ()


def check(search, x, reference, machines=(), owner: int = 0) -> None:
    """The n-best list is every sequence of whole words with its exact score."""
    totals = totals_of(search.words, len(x), reference, machines)
    best = max(totals.values())
    lengths = torch.tensor([len(x), len(x) - 1])  # beside another row, which ends earlier
    for pieces in ([len(x)], [1] * len(x)):
        said, state = heard(search, torch.stack([x, x.flip(0)]), lengths, pieces, owner)
        found = {said[0] + labels_of(one): one.score for one in search.hypotheses(state, 0)}
        assert found.keys() == totals.keys()
        assert found == pytest.approx({labels: value - best for labels, value in totals.items()}, abs=2e-4)
        assert said[0] + labels_of(search.flush(state).hypothesis(0)) == max(totals, key=totals.get)


def by_ctc(x):
    """Sequences of tokens → the log of the sum over the alignments of each with x (T, V), prefix by prefix (Graves 2006)."""
    p = x.double().exp().numpy()
    time = len(p)
    ends: dict[
        tuple, tuple[np.ndarray, np.ndarray]
    ] = {  # after so many frames (T + 1,), by whether the last is a blank
        (): (np.concatenate([[1], p[:, 0].cumprod()]), np.zeros(time + 1))
    }

    def end(sequence: tuple) -> tuple[np.ndarray, np.ndarray]:
        if sequence not in ends:
            *before, token = sequence
            blank, symbol = end(tuple(before))
            entered = blank + (symbol if before[-1:] != [token] else 0)
            to_blank, to_symbol = np.zeros(time + 1), np.zeros(time + 1)
            for t in range(time):
                to_symbol[t + 1] = p[t, token] * (to_symbol[t] + entered[t])
                to_blank[t + 1] = p[t, 0] * (to_blank[t] + to_symbol[t])
            ends[sequence] = to_blank, to_symbol
        return ends[sequence]

    return lambda sequences: {one: log(sum(part[-1] for part in end(one))) for one in sequences}


def log(value: float) -> float:
    return math.log(value) if value else -math.inf


def by_transducer(predictor, joiner, x):
    """The same for alignments of at most one symbol a frame with encoder frames x (T, C)."""

    @torch.no_grad()
    def probabilities(prefixes: list[tuple]) -> np.ndarray:
        """(N, T, V), of prefixes of one length."""
        y = joiner.predictor_proj(predictor(torch.tensor(prefixes, dtype=torch.int64).view(len(prefixes), -1))[:, -1])
        return joiner(joiner.encoder_proj(x)[None], y[:, None]).double().softmax(-1).numpy()

    def sums(sequences: Iterable[tuple]) -> dict[tuple, float]:
        prefixes = {one[:n] for one in sequences for n in range(len(one) + 1)}
        after: dict[tuple, np.ndarray] = {}  # so many frames (T + 1,)
        known: dict[tuple, np.ndarray] = {}
        for n in range(len(x) + 1):
            level = [one for one in prefixes if len(one) == n]
            known |= dict(zip(level, probabilities(level), strict=True)) if level else {}
            for one in level:
                entered = np.zeros(len(x) + 1)
                if one:
                    entered[1:] = after[one[:-1]][:-1] * known[one[:-1]][:, one[-1]]
                else:
                    entered[0] = 1
                for t in range(len(x)):
                    entered[t + 1] += entered[t] * known[one][t, 0]
                after[one] = entered
        return {one: log(after[one][-1]) for one in sequences}

    return sums


@pytest.mark.parametrize("unknown", [None, -1.0], ids=["", "unknown words"])
@pytest.mark.parametrize("helped", [False, True], ids=["lexicon", "lexicon, word n-gram, n-gram, hotwords"])
def test_ctc_finds_every_sequence_of_words(helped, unknown):
    torch.manual_seed(0)
    frames = 3 if unknown else 4
    x, machines = (2 * torch.randn(frames, SYMBOLS)).log_softmax(-1), automata(SYMBOLS) if helped else ()
    tree = lexicon(SYMBOLS)
    words = Words(tree, word_lm(tree) if helped else None, unknown, BEGINS[:SYMBOLS])
    check(CtcBeamSearch(ctc, beam=WIDE, automata=machines, words=words), x, by_ctc(x), machines)
    search = CtcBeamSearch(ctc, beam=WIDE, columns=2, words=words)
    check(search, x, by_ctc(x), machines, search.add(machines))


@pytest.mark.parametrize("unknown", [None, -1.0], ids=["", "unknown words"])
@pytest.mark.parametrize("helped", [False, True], ids=["lexicon", "lexicon, word n-gram, n-gram, hotwords"])
def test_a_transducer_finds_every_sequence_of_words(helped, unknown):
    predictor, joiner = parts("lstm")
    x, machines = torch.randn(3, DIM), automata(VOCABULARY) if helped else ()
    tree = lexicon(VOCABULARY)
    words = Words(tree, word_lm(tree) if helped else None, unknown, BEGINS)
    search = TransducerBeamSearch(predictor, joiner, WIDE, automata=machines, words=words)
    check(search, x, by_transducer(predictor, joiner, x), machines)


@pytest.mark.parametrize("hotwords", [False, True], ids=["", "hotwords"])
@pytest.mark.parametrize("bonus", [None, -0.8], ids=["word n-gram", "a malus for each word"])
@pytest.mark.parametrize("kind", ["ctc", "transducer"])
def test_of_six_frames_the_likeliest_words_are_found(kind, bonus, hotwords):
    """The beam holds fewer hypotheses than there are sequences. Rows of other lengths lie beside, in pieces of any size."""
    torch.manual_seed(3)
    symbols = SYMBOLS if kind == "ctc" else VOCABULARY
    tree, machines = lexicon(symbols), automata(symbols)[1:] if hotwords else ()
    lm = word_lm(tree)
    if bonus is not None:
        lm = Automaton.null(len(tree.words) + 1)
        lm.weights[:-1] = bonus
    options = {"beam": SOME, "automata": machines, "words": Words(tree, lm)}
    lengths = torch.tensor([6, 4, 6, 5])
    if kind == "ctc":
        x, search = (2 * torch.randn(4, 6, symbols)).log_softmax(-1), CtcBeamSearch(ctc, **options)
        references = [by_ctc(row[:n]) for row, n in zip(x, lengths, strict=True)]
    else:
        predictor, joiner = parts("lstm")
        torch.nn.init.zeros_(joiner.output.bias)  # else most sequences are short
        x, search = torch.randn(4, 6, DIM), TransducerBeamSearch(predictor, joiner, **options)
        references = [by_transducer(predictor, joiner, row[:n]) for row, n in zip(x, lengths, strict=True)]
    wanted = [
        totals_of(search.words, n, reference, machines)
        for reference, n in zip(references, lengths.tolist(), strict=True)
    ]
    assert len(wanted[-1]) > 2 * SOME and max(len(max(totals, key=totals.get)) for totals in wanted) > 2
    for pieces in ([6], [1] * 6, [2, 1, 3]):
        said, state = heard(search, x, lengths, pieces)
        for i, totals in enumerate(wanted):
            best, second = sorted(totals.values())[:-3:-1]
            found = said[i] + labels_of(search.flush(state).hypothesis(i))
            assert totals[found] == pytest.approx(best, abs=1e-4)  # homophones tie without an n-gram
            assert float(state["margin"][i]) == pytest.approx(best - second, abs=1e-3)
