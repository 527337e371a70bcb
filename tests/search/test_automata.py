"""N-grams and hotwords: the automata against the plainest reading of their definitions, and files that are at fault."""

import gc
import itertools
import math
import random

import pytest
import torch

from audiorec.errors import ConfigError, UserError
from audiorec.search import BlankSkip, CtcBeamSearch, CtcGreedySearch, SearchConfig, build_automata, session_automata
from audiorec.search.arpa import read_arpa, write_ngram
from audiorec.search.automaton import Automaton
from audiorec.search.hotwords import context_graph
from audiorec.search.kneser_ney import estimate_pieces
from audiorec.text import Normalizer, train_tokenizer
from tests.search.searches import DIM, OWNERS, automata, beam, ctc, sets

TEXTS = ["a b c", "a b d", "b", "c c c a b", "d d a b c", "a"]
WORDS = train_tokenizer("word", ["a b c d"])

# Written by hand: a pruned history, a history with a back-off that nothing follows, and a symbol left out.
ARPA = """
\\data\\
ngram 1=5
ngram 2=4
ngram 3=1

\\1-grams:
-1.5 <unk>
-99 <s> -0.3
-0.7 </s>
-0.5 a -0.4
-0.6 b -0.2

\\2-grams:
-0.1 <s> a -0.25
-0.2 a b -0.15
-0.9 b a
-0.8 b </s>

\\3-grams:
-0.05 <s> a b

\\end\\
"""


@pytest.fixture
def arpa(tmp_path):
    path = tmp_path / "lm.arpa"
    path.write_text(ARPA)
    return path


def total(machine: Automaton, symbols, final: bool = True) -> float:
    state, weights = torch.tensor(machine.start), 0.0
    for symbol in symbols:
        weight, state = machine.step(state, torch.tensor(symbol))
        weights += float(weight)
    return weights + float(machine.final[state]) * final


def katz(grams: dict, history: tuple, word: str) -> float:
    """An ARPA file's definition of log10 p(word | history)."""
    if (*history, word) in grams:
        return grams[(*history, word)][0]
    if not history:
        return grams[("<unk>",)][0]
    return grams.get(history, (0, 0))[1] + katz(grams, history[1:], word)


def test_an_arpa_file_says_what_its_definition_says(arpa):
    grams = {}
    for line in ARPA.splitlines():
        fields = line.split()
        if line.startswith("-"):
            words = [field for field in fields[1:] if field[0] not in "-0123456789"]
            grams[tuple(words)] = (float(fields[0]), float(fields[-1]) if len(fields) > len(words) + 1 else 0.0)
    machine = read_arpa(arpa, WORDS, weight=0.5, bonus=0.25)
    for size in range(5):
        for sentence in itertools.product("abc", repeat=size):
            line = ("<s>", *sentence, "</s>")
            expected = sum(katz(grams, line[max(0, i - 2) : i], line[i]) for i in range(1, len(line)))
            ids = WORDS.encode(" ".join(sentence))
            assert total(machine, ids) == pytest.approx(0.5 * math.log(10) * expected + 0.25 * size, abs=1e-5), sentence


def test_states_and_symbols_of_any_shape_step_together(arpa):
    machine = read_arpa(arpa, WORDS)
    states = torch.arange(len(machine.final))[:, None]
    weights, targets = machine.step(states, torch.arange(2, WORDS.size))
    for state, symbol in itertools.product(range(len(machine.final)), range(2, WORDS.size)):
        weight, target = machine.step(torch.tensor(state), torch.tensor(symbol))
        assert weights[state, symbol - 2] == weight and targets[state, symbol - 2] == target


@pytest.mark.parametrize("kind, size", [("word", None), ("char", None), ("bpe", 9)])
@pytest.mark.parametrize("order", [1, 2, 4])
def test_an_estimate_is_a_distribution_that_knows_its_text(tmp_path, kind, size, order):
    tokenizer = train_tokenizer(kind, TEXTS, size)
    write_ngram(tmp_path / "lm.arpa", estimate_pieces(TEXTS, tokenizer, order))
    machine = read_arpa(tmp_path / "lm.arpa", tokenizer)
    states = torch.arange(len(machine.final))
    weights, _ = machine.step(states[:, None], torch.arange(1, tokenizer.size))
    sums = weights.exp().sum(1) + machine.tensors().final.exp()
    torch.testing.assert_close(sums, torch.ones_like(sums), atol=1e-5, rtol=0)
    assert len(states) == 1 or order > 1
    if order > 1:
        assert total(machine, tokenizer.encode("a b c")) > total(machine, tokenizer.encode("c b a")) + 0.25


@pytest.mark.parametrize("order", [1, 2, 3])
def test_an_estimate_takes_text_that_the_tokenizer_does_not_know(tmp_path, order):
    texts = ["a b zebra c", "zebra zebra a", "a b c"]
    write_ngram(tmp_path / "lm.arpa", estimate_pieces(texts, WORDS, order))
    machine = read_arpa(tmp_path / "lm.arpa", WORDS)
    weights, _ = machine.step(torch.arange(len(machine.final))[:, None], torch.arange(1, WORDS.size))
    sums = weights.exp().sum(1) + machine.tensors().final.exp()
    torch.testing.assert_close(sums, torch.ones_like(sums), atol=1e-5, rtol=0)
    if order > 1:
        assert total(machine, WORDS.encode("a b zebra")) > total(machine, WORDS.encode("b a zebra"))


def test_what_is_wrong_with_an_arpa_file_is_one_line(arpa):
    lines = ARPA.splitlines(keepends=True)
    faults = {
        "cut short": "".join(lines[:-3]),
        "header promises 4": "".join(line for line in lines if "b a" not in line),
        "'b' is not among the 1-grams": ARPA.replace("-0.6 b", "-0.6 c"),
        "stands twice": ARPA.replace("-0.9 b a", "-0.9 a b"),
        "more 1-grams than the header promises": ARPA.replace("ngram 1=5", "ngram 1=4"),
        r"expected `\\2-grams:`": ARPA.replace("\\2-grams:", "\\3-grams:", 1),
        "expected log10 probability": ARPA.replace("-0.2 a b", "a b"),
        "history": ARPA.replace("-0.05 <s> a b", "-0.05 b b a"),
        "no ARPA file": "one two three\n",
        "expected `ngram 2=count`": ARPA.replace("ngram 2=4", "ngram 3=4"),
    }
    for cut in range(0, len(ARPA) - 8, 7):  # wherever it is cut
        arpa.write_text(ARPA[:cut])
        with pytest.raises(UserError):
            read_arpa(arpa, WORDS)
    for message, text in faults.items():
        arpa.write_text(text)
        with pytest.raises(UserError, match=message) as error:
            read_arpa(arpa, WORDS)
        assert "lm.arpa: line" in str(error.value) and "\n" not in str(error.value)
    arpa.write_text(ARPA.replace("b", "x"))
    with pytest.raises(UserError, match="'x' is no piece of this model's word tokenizer"):
        read_arpa(arpa, WORDS)
    with pytest.raises(UserError, match="no such file"):
        read_arpa(arpa.with_name("none"), WORDS)


PHRASES = {(1, 2): 1.0, (1, 2, 3): 1.0, (2, 3, 2): 0.5, (3,): 0.25, (2, 3): 2.0, (1, 1, 2, 4): 0.125, (4, 4): 3.0}


def earned(sequence: tuple, phrases: dict) -> float:
    """Each occurrence of a phrase earns its tokens' scores, less those that the longest phrase it begins with has earned."""

    def score(prefix: tuple) -> float:
        return max(value for phrase, value in phrases.items() if phrase[: len(prefix)] == prefix)

    sums = 0.0
    for end in range(1, len(sequence) + 1):
        for phrase in phrases:
            if sequence[max(0, end - len(phrase)) : end] == phrase:
                begun = max([n for n in range(1, len(phrase)) if phrase[:n] in phrases], default=0)
                sums += sum(score(phrase[:n]) for n in range(begun + 1, len(phrase) + 1))
    return sums


def test_hotwords_keep_what_is_complete_and_give_back_the_rest():
    machine, draw = context_graph(PHRASES, 5), random.Random(0)
    heard = set()
    for _ in range(300):
        sequence = tuple(draw.choices([1, 1, 2, 2, 3, 4], k=draw.randint(0, 9)))
        assert total(machine, sequence) == pytest.approx(earned(sequence, PHRASES)), sequence
        heard |= {phrase for phrase in PHRASES if str(phrase)[1:-1] in str(sequence)}
    assert len(heard) > 5
    assert total(machine, (1, 1, 2), final=False) > total(machine, (1, 1, 2))  # what is on its way helps at once


def test_hotwords_come_from_lists_and_files(tmp_path):
    path = tmp_path / "hotwords"
    path.write_text("a b :2.5\n\nd\n")
    (machine,) = build_automata(SearchConfig(kind="beam", hotwords=path), WORDS, Normalizer())
    a, b, c, d = WORDS.encode("a b c d")
    assert [total(machine, s) for s in ([a, b], [a, c], [d], [c, d, a, b])] == [5.0, 0.0, 1.5, 6.5]
    lower = Normalizer(case="lower")
    (machine,) = build_automata(SearchConfig(kind="beam", hotwords=("A B",), hotwords_score=1), WORDS, lower)
    assert total(machine, [a, b]) == 2.0
    for message, text in {
        "line 2: ':x' is no score": "a\nb :x\n",
        "'a e': has symbols outside the word tokenizer's vocabulary": "a e\n",
        "holds no phrase": "\n",
    }.items():
        path.write_text(text)
        with pytest.raises(UserError, match=message):
            build_automata(SearchConfig(kind="beam", hotwords=path), WORDS, Normalizer())


def test_automata_that_do_not_fit_are_one_line():
    (bigram, hotwords), (other, _) = automata(DIM), automata(DIM + 2)
    search = CtcBeamSearch(ctc, automata=[bigram], columns=2)
    wrong = f"an automaton over {DIM + 2} symbols does not fit a search over {DIM}; make it with the tokenizer"
    with pytest.raises(UserError, match=wrong):
        search.add([other])
    with pytest.raises(UserError, match=wrong):
        CtcBeamSearch(ctc, automata=[bigram, other])
    with pytest.raises(UserError, match="over 8 symbols does not fit a search over 5"):
        beam("stateless", automata=[other])
    with pytest.raises(UserError, match="over 8 symbols does not fit a search over 5"):
        beam("stateless", columns=1).add([other])
    unfit = CtcBeamSearch(ctc, automata=[other])  # whose scores tell at the first frame how many symbols they have
    with pytest.raises(UserError, match=wrong):
        unfit.step(torch.zeros(1, 1, DIM), None, unfit.initial_state(1))
    with pytest.raises(UserError, match="a row has room for 2 automata, got 3; make the search with columns=3"):
        search.add([bigram, hotwords, bigram])
    with pytest.raises(UserError, match="no room for automata of their own; make it with columns=2"):
        CtcBeamSearch(ctc).add([bigram])
    with pytest.raises(UserError, match=r"need a beam; load with search={'kind': 'beam'}"):
        BlankSkip(CtcGreedySearch(ctc), ctc, 0.5).add([bigram])
    given = search.add([hotwords])
    search.remove(given)
    for owner in (given, 7, torch.tensor([0, 7])):
        with pytest.raises(UserError, match=r"no automata of the id \d; take the id that `add` gives"):
            search.initial_state(2, owner=owner)
    for owner in (0, given):
        with pytest.raises(UserError, match="no automata of the id"):
            search.remove(owner)
    with pytest.raises(UserError, match="no automata of the id 1"):
        CtcBeamSearch(ctc).initial_state(1, owner=1)


def test_a_pool_holds_each_automaton_once_and_stays_small():
    search, draw = CtcBeamSearch(ctc, automata=automata(), columns=2), random.Random(0)
    pool, (bigram, hotwords) = search.automata, automata()
    size = pool._all.arc_count
    ids = [search.add([bigram, hotwords]) for _ in range(20)]
    assert pool._all.arc_count < 3 * size and len(set(ids)) == 20
    for owner in ids:
        search.remove(owner)
    for _ in range(300):
        ids = [search.add(draw.choice(sets())) for _ in range(draw.randint(0, 5))]
        draw.shuffle(ids)
        for owner in ids:
            search.remove(owner)
    assert pool._all.arc_count < 12 * size and len(pool._table) == 21


@pytest.mark.parametrize("name", OWNERS)
def test_rows_whose_automata_are_gone_harm_nobody(name):
    make, symbols = OWNERS[name]
    search = make(columns=2)
    owner = search.add(sets(symbols)[1])
    x = 2 * torch.randn(2, 20, DIM, generator=torch.Generator().manual_seed(0))
    _, state = search.step(x, None, search.initial_state(2, owner=torch.tensor([0, owner])))
    assert state["automata"][1].any()
    other = search.add(sets(symbols)[3])
    search.remove(owner)
    _, beside = search.step(x, None, state)
    assert not beside["automata"].any()
    search.remove(other)
    _, without = search.step(x, None, state)  # nobody has any
    assert {search.add(sets(symbols)[4]), search.add(sets(symbols)[2])} == {owner, other}  # of fewer states
    tokens, after = search.step(x, None, state)
    alone = make()
    expected, end = alone.step(x[:1].repeat(1, 2, 1), None, alone.initial_state(1))
    said = alone.step(x[:1], None, alone.initial_state(1))[0].row(0)[0] + tokens.row(0)[0]
    assert said == expected.row(0)[0] and len(said) > 2
    for one in (without, beside, after):
        assert search.flush(one).row(0) == alone.flush(end).row(0)


def test_automata_may_be_added_in_and_out_of_inference():
    x, found = torch.randn(1, 30, DIM, generator=torch.Generator().manual_seed(0)), []
    for first, then in itertools.product([False, True], repeat=2):
        search = CtcBeamSearch(ctc, columns=2)
        with torch.inference_mode(first):
            search.add(sets()[1])
        with torch.inference_mode(then):
            search.add(sets()[2])  # for which there is room
            owners = [search.add(one) for one in sets()]
            tokens, _ = search.step(x, None, search.initial_state(1, owner=owners[4]))
            found.append(tokens.row(0))
    assert found == found[:1] * 4


def test_a_session_changes_what_it_gives_and_keeps_the_rest(arpa, tmp_path):
    base = SearchConfig(kind="beam", lm=arpa, lm_weight=0.5, hotwords=("a b",), hotwords_score=2.0)
    own = build_automata(base, WORDS, Normalizer())
    a, b, c = WORDS.encode("a b c")

    def session(given, base=base, own=own):
        return session_automata(given, base, own, WORDS, Normalizer())

    assert session({}) == own
    ngram, hotwords = session({"hotwords": ["b c"]})
    assert ngram is own[0] and [total(hotwords, s) for s in ([a, b], [b, c])] == [0, 4]
    assert total(session({"hotwords_score": 1.0})[1], [a, b]) == 2
    assert session({"hotwords": ["a b"], "lm_weight": 0.5}) == own  # the same again
    for nothing in (None, []):
        assert session({"hotwords": nothing}) == own[:1]
    assert session({"lm": None}) == own[1:] and session({"lm": None, "hotwords": None}) == ()
    ngram, hotwords = session({"lm_weight": 1.0})
    assert hotwords is own[1] and total(ngram, [a]) == pytest.approx(2 * total(own[0], [a]))
    assert session({"lm": str(arpa), "lm_weight": 1.0})[0] is ngram, "read twice"
    arpa.write_text(ARPA.replace("-0.5 a", "-0.4 a"))
    changed = session({"lm": arpa, "lm_weight": 1.0})[0]
    assert changed is not ngram and total(changed, [c, a]) > total(ngram, [c, a])
    plain = SearchConfig(kind="beam")
    (hotwords,) = session({"hotwords": ["a"]}, plain, ())
    assert total(hotwords, [a]) == 1.5 and session({"lm": arpa, "lm_weight": 1.0}, plain, ()) == (changed,)
    assert CtcBeamSearch(lambda x: x, columns=2).add((ngram, hotwords)) == 1  # over the same symbols


def test_an_ngram_that_nobody_has_is_forgotten(arpa):
    from audiorec.search.config import _ngrams

    base = SearchConfig(kind="beam")
    count = len(_ngrams)
    read = session_automata({"lm": arpa}, base, (), WORDS, Normalizer())
    assert len(_ngrams) == count + 1 and read
    del read
    gc.collect()
    assert len(_ngrams) <= count


def test_what_a_session_may_not_give_is_one_line():
    greedy, base = SearchConfig(), SearchConfig(kind="beam")
    for config, given, message in [
        (
            base,
            {"hotwords": ["a"], "beam": 8},
            "search.beam: a session may give hotwords, hotwords_score, lm, lm_weight",
        ),
        (base, {"hotword": ["a"]}, "search.hotword: a session may give hotwords"),
        (greedy, {"hotwords": ["a"]}, r"search.hotwords: needs a beam; load the model with search={'kind': 'beam'}"),
        (base, {"hotwords_score": 2.0}, "hotwords_score: has no effect without hotwords"),
        (base, {"hotwords": ["a"], "hotwords_score": -1}, "search.hotwords_score: .*greater than 0"),
        (base, {"hotwords": 3}, "search.hotwords: give a list of phrases, or the name of a file of them, got 3"),
    ]:
        with pytest.raises(ConfigError, match=message) as error:
            session_automata(given, config, (), WORDS, Normalizer())
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="hotword 'e': has symbols outside the word tokenizer's vocabulary"):
        session_automata({"hotwords": ["e"]}, base, (), WORDS, Normalizer())
    with pytest.raises(UserError, match=r"b a: no such file of hotwords \(in Python a list holds phrases\)"):
        session_automata({"hotwords": "b a"}, base, (), WORDS, Normalizer())
    with pytest.raises(UserError, match="none: no such file"):
        session_automata({"lm": "none"}, base, (), WORDS, Normalizer())
    assert session_automata({}, greedy, (), WORDS, Normalizer()) == ()
