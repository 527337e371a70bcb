"""N-grams and hotwords: the automata against the plainest reading of their definitions, and files that are at fault."""

import itertools
import math
import random

import pytest
import torch

from audiorec.errors import UserError
from audiorec.search import SearchConfig, build_automata
from audiorec.search.arpa import read_arpa
from audiorec.search.automaton import Automaton
from audiorec.search.hotwords import context_graph
from audiorec.search.ngram import write_ngram
from audiorec.text import Normalizer, train_tokenizer

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
    write_ngram(tmp_path / "lm.arpa", TEXTS, tokenizer, order)
    machine = read_arpa(tmp_path / "lm.arpa", tokenizer)
    states = torch.arange(len(machine.final))
    weights, _ = machine.step(states[:, None], torch.arange(2, tokenizer.size))
    sums = weights.exp().sum(1) + machine.final.exp()
    torch.testing.assert_close(sums, torch.ones_like(sums), atol=1e-5, rtol=0)
    assert len(states) == 1 or order > 1
    if order > 1:
        assert total(machine, tokenizer.encode("a b c")) > total(machine, tokenizer.encode("c b a")) + 1


@pytest.mark.parametrize("order", [1, 2, 3])
def test_an_estimate_takes_text_that_the_tokenizer_does_not_know(tmp_path, order):
    write_ngram(tmp_path / "lm.arpa", ["a b zebra c", "zebra zebra a", "a b c"], WORDS, order)
    machine = read_arpa(tmp_path / "lm.arpa", WORDS)
    weights, _ = machine.step(torch.arange(len(machine.final))[:, None], torch.arange(1, WORDS.size))
    sums = weights.exp().sum(1) + machine.final.exp()
    torch.testing.assert_close(sums, torch.ones_like(sums), atol=1e-5, rtol=0)
    if order > 1:
        assert total(machine, WORDS.encode("a b zebra")) > total(machine, WORDS.encode("b a zebra"))


def test_what_is_wrong_with_an_arpa_file_is_one_line(arpa):
    lines = ARPA.splitlines(keepends=True)
    faults = {
        "cut short": "".join(lines[:-3]),
        "header promises 4": "".join(line for line in lines if "b a" not in line),
        "'x' is no piece of this model's word tokenizer": ARPA.replace("-0.6 b", "-0.6 x"),
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
