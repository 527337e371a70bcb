"""Searching words: the beam with a lexicon against every sequence of words, each with its exact score."""

import pytest
import torch

from audiorec.search import CtcBeamSearch, TransducerBeamSearch
from audiorec.search.words import INSIDE, Words
from tests.search.searches import DIM, VOCABULARY, automata, ctc, lexicon, parts, word_lm
from tests.search.test_beam import SYMBOLS, collapse_ctc, every_alignment, score

pytestmark = pytest.mark.usefixtures("form")

WIDE = 400  # wide enough for all labels of four frames, of three with unknown words
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


def check(search, x, expected: dict[tuple, float], machines=(), owner: int = 0) -> None:
    """The n-best list is every sequence of whole words with its exact score; ``expected`` has those of the tokens alone."""
    words = search.words
    totals = {
        labels: expected[tokens] + value + score(tokens, machines)
        for labels, value in sequences(words, len(x)).items()
        if (tokens := tuple(token for token, _ in labels)) in expected
    }
    found = {}
    lengths = torch.tensor([len(x), len(x) - 1])  # beside another row, which ends earlier
    whole = torch.stack([x, x.flip(0)])
    for pieces in ([len(x)], [1] * len(x)):
        state, at, said = search.initial_state(2, owner=owner), 0, []
        for size in pieces:
            tokens, state = search.step(whole[:, at : at + size], (lengths - at).clamp(0, size), state)
            said += tokens.hypothesis(0).words and list(zip(tokens.row(0)[0], tokens.hypothesis(0).words, strict=True))
            at += size
        nbest = search.hypotheses(state, 0)
        found = {(*said, *zip(one.ids, one.words, strict=True)): one.score for one in nbest}
        named = {tuple((token, words.texts[word]) for token, word in labels): v for labels, v in totals.items()}
        best = max(named.values())
        assert found.keys() == named.keys()
        assert found == pytest.approx({labels: value - best for labels, value in named.items()}, abs=2e-4)
        end = search.flush(state).hypothesis(0)
        assert (*said, *zip(end.ids, end.words, strict=True)) == max(named, key=named.get)


def by_ctc(x) -> dict[tuple, float]:
    def log_prob(path):
        return sum(float(x[t, c]) for t, c in enumerate(path))

    return every_alignment(len(x), x.shape[1], collapse_ctc, log_prob)


@pytest.mark.parametrize("unknown", [None, -1.0], ids=["", "unknown words"])
@pytest.mark.parametrize("helped", [False, True], ids=["lexicon", "lexicon, word n-gram, n-gram, hotwords"])
def test_ctc_finds_every_sequence_of_words(helped, unknown):
    torch.manual_seed(0)
    frames = 3 if unknown else 4
    x, machines = (2 * torch.randn(frames, SYMBOLS)).log_softmax(-1), automata(SYMBOLS) if helped else ()
    expected = by_ctc(x)
    tree = lexicon(SYMBOLS)
    words = Words(tree, word_lm(tree) if helped else None, unknown, BEGINS[:SYMBOLS])
    check(CtcBeamSearch(ctc, beam=WIDE, automata=machines, words=words), x, expected, machines)
    search = CtcBeamSearch(ctc, beam=WIDE, columns=2, words=words)
    check(search, x, expected, machines, search.add(machines))


@pytest.mark.parametrize("unknown", [None, -1.0], ids=["", "unknown words"])
@pytest.mark.parametrize("helped", [False, True], ids=["lexicon", "lexicon, word n-gram, n-gram, hotwords"])
def test_a_transducer_finds_every_sequence_of_words(helped, unknown):
    predictor, joiner = parts("lstm")
    x, machines = torch.randn(3, DIM), automata(VOCABULARY) if helped else ()

    def collapse(path):
        return tuple(c for c in path if c)

    @torch.no_grad()
    def log_prob(path):
        total = 0.0
        for t, symbol in enumerate(path):
            said = torch.tensor([collapse(path[:t])], dtype=torch.int64)
            y = joiner.predictor_proj(predictor(said)[:, -1])
            total += float(joiner(joiner.encoder_proj(x[t]), y)[0].log_softmax(-1)[symbol])
        return total

    tree = lexicon(VOCABULARY)
    words = Words(tree, word_lm(tree) if helped else None, unknown, BEGINS)
    search = TransducerBeamSearch(predictor, joiner, WIDE, automata=machines, words=words)
    check(search, x, every_alignment(3, VOCABULARY, collapse, log_prob), machines)
