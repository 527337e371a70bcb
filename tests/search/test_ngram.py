"""n-grams: estimated as their definitions say, kept and scored as KenLM does, interpolated; files at fault."""

import gzip
import itertools
import math
import random
from collections import Counter

import numpy as np
import pytest
import torch

from audiorec.errors import UserError
from audiorec.search.arpa import read_ngram, read_words, write_ngram
from audiorec.search.kneser_ney import Vocabulary, estimate
from audiorec.search.mixture import mix, tune_weights
from audiorec.search.ngram import BEGIN_ID, SPECIALS
from audiorec.search.perplexity import perplexity


def text(seed: int, sentences: int = 200) -> list[list[str]]:
    """Sentences of words most of which are rare, as Zipf's law has it, and which follow one another by habit."""
    draw, lines = random.Random(seed), []
    for _ in range(sentences):
        line = [1]
        while draw.random() < 0.85:
            line.append(line[-1] * 7 % 31 if draw.random() < 0.5 else int(min(draw.paretovariate(0.6), 500)))
        lines.append([f"w{word}" for word in line])
    return lines


LINES, OTHERS, HELD_OUT = text(0), text(1, 60), text(2, 30)


def estimated(lines, order=3, prune=(), words=None):
    words = words or Vocabulary()
    encoded = words.encode("text", lines)
    return estimate(encoded, words, order, prune)


def kneser_ney(lines, order, prune):
    """log10 p(word | history) by Chen & Goodman's equations, over dictionaries; histories may be of any length."""
    counts: list[Counter] = [Counter() for _ in range(order + 1)]
    for line in lines:
        whole = ("<s>", *line, "</s>")
        for size in range(1, order + 1):
            counts[size].update(whole[i : i + size] for i in range(len(whole) - size + 1))
    del counts[1][("<s>",)]
    adjusted = []
    for size in range(1, order + 1):
        before = Counter(gram[1:] for gram in counts[size + 1]) if size < order else counts[size]
        adjusted.append({g: n if g[0] == "<s>" else before[g] for g, n in counts[size].items()})
    size = len(counts[1]) + 1  # <unk> too

    def discounts(level):
        n = Counter(adjusted[level].values())
        if n[1] and n[2] and n[3]:
            found = [k - (k + 1) * n[1] / (n[1] + 2 * n[2]) * n[k + 1] / n[k] for k in (1, 2, 3)]
            if all(0 <= d <= k for k, d in enumerate(found, 1)):
                return 0, *found
        return 0, 0.5, 1, 1.5  # as lmplz has it

    taken = [discounts(level) for level in range(order)]

    def probability(history, word):
        level = len(history)
        lower = probability(history[1:], word) if history else 1 / size
        after = {g: n for g, n in adjusted[level].items() if g[:-1] == history}
        if not after:
            return lower
        pruned = {g for g in after if level and counts[level + 1][g] <= prune[level]}
        given = {g: 0 if g in pruned else n - taken[level][min(n, 3)] for g, n in after.items()}
        total = sum(after.values())
        return given.get((*history, word), 0) / total + (1 - sum(given.values()) / total) * lower

    return lambda history, word: math.log10(probability(history, word))


@pytest.mark.parametrize("prune", [(0, 0, 0, 0, 0), (0, 0, 1, 1, 2)])
@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_an_estimate_is_chen_and_goodmans(order, prune):
    model = estimated(LINES, order, prune[:order])
    score, held_out = kneser_ney(LINES, order, prune), [*HELD_OUT[:6], *LINES[:6], ["w1", "elsewhere", "w2"]]
    found = model.log_probs(Vocabulary(model.words).encode("held out", held_out))
    expected = []
    for line in held_out:
        whole = ("<s>", *line, "</s>")
        expected += [0.0, *[score(whole[max(0, i - order + 1) : i], whole[i]) for i in range(1, len(whole))]]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_automaton_says_what_the_arrays_say(tmp_path):
    model = estimated(LINES, 4, (0, 0, 0, 1))
    write_ngram(tmp_path / "lm.arpa.gz", model)
    assert gzip.decompress((tmp_path / "lm.arpa.gz").read_bytes()).startswith(b"\\data\\\n")
    words = [*reversed(model.words[3:]), "<unk>", "elsewhere"]
    machine = read_words(tmp_path / "lm.arpa.gz", words, weight=0.5, bonus=0.25)
    for line in [*HELD_OUT, ["w1", "elsewhere", "w2"]]:
        scores = model.log_probs(Vocabulary(model.words).encode("line", [line]))
        state, total = torch.tensor(machine.start), 0.0
        for word in line:
            weight, state = machine.step(state, torch.tensor(words.index(word if word in words else "elsewhere")))
            total += float(weight)
        expected = 0.5 * math.log(10) * scores.sum() + 0.25 * len(line)
        assert total + float(machine.final[state]) == pytest.approx(expected, abs=1e-4)


def test_words_that_nobody_says_leave_no_trace():
    model = estimated(LINES)
    chosen = model.words[3:23]
    some = {word: i for i, word in enumerate(chosen)}
    whole, part = (
        model.automaton({w: i for i, w in enumerate(model.words)}, len(model.words)),
        model.automaton(some, 20),
    )
    assert part.arc_count < whole.arc_count / 2 and part.state_count < whole.state_count
    for line in itertools.product(range(20), repeat=2):
        a, b = torch.tensor(whole.start), torch.tensor(part.start)
        for symbol in line:
            (x, a), (y, b) = whole.step(a, torch.tensor(symbol + 3)), part.step(b, torch.tensor(symbol))
            assert float(x) == pytest.approx(float(y), abs=1e-5)


def test_a_mixture_is_a_distribution_and_the_sum_of_its_parts():
    words = Vocabulary()
    texts = [words.encode("text", lines) for lines in (LINES, OTHERS)]
    words.closed = True
    models = [estimate(encoded, words, 3, (0, 0, 1)) for encoded in texts]
    mixed = mix(models, [0.3, 0.7])
    machine = mixed.automaton({word: i for i, word in enumerate(words)}, len(words))
    weights, _ = machine.step(torch.arange(machine.state_count)[:, None], torch.arange(len(words)))
    weights[:, BEGIN_ID : BEGIN_ID + 2] = -math.inf
    sums = weights.exp().sum(1) + machine.tensors().final.exp()
    torch.testing.assert_close(sums, torch.ones_like(sums), atol=1e-4, rtol=0)
    found, parts = mixed.log_probs(texts[0]), [model.log_probs(texts[0]) for model in models]
    said = texts[0] != BEGIN_ID
    expected = np.log10(0.3 * 10 ** parts[0] + 0.7 * 10 ** parts[1])
    assert np.median(np.abs(found - expected)[said]) < 1e-5  # what is backed off differs a little
    assert mix([models[0]], [1.0]).log_probs(texts[0]) == pytest.approx(parts[0], abs=1e-4)


def test_weights_are_the_likeliest():
    words = Vocabulary()
    texts = [words.encode("text", lines) for lines in (LINES, OTHERS)]
    words.closed = True
    models, held_out = [estimate(encoded, words) for encoded in texts], words.encode("held out", HELD_OUT)
    parts = np.stack([10 ** model.log_probs(held_out)[held_out > BEGIN_ID] for model in models])

    def likelihood(first):
        return np.log(np.array([first, 1 - first]) @ parts).mean()

    weights = tune_weights(models, held_out)
    assert weights.sum() == pytest.approx(1)
    assert likelihood(weights[0]) >= max(map(likelihood, np.linspace(0, 1, 51))) - 1e-6


def test_perplexities_are_kenlms(tmp_path):
    kenlm = pytest.importorskip("kenlm")
    path = tmp_path / "lm.arpa"
    write_ngram(path, estimated(LINES, 3))
    lines = [*HELD_OUT, ["elsewhere", "w1"], []]
    found = perplexity(path, {"held out": lines})["held out"]
    scores = [score for line in lines if line for score in kenlm.Model(str(path)).full_scores(" ".join(line))]
    known = [score for score, _, unknown in scores if not unknown]
    (tmp_path / "lm.binary").write_bytes(b"mmap lm http://kheafield.com/code format version 5\n\0" + bytes(200))
    with pytest.raises(UserError, match="KenLM cannot read it"):
        perplexity(tmp_path / "lm.binary", {"held out": lines})
    assert (found.sentences, found.tokens, found.unknown) == (len(lines) - 1, len(scores), len(scores) - len(known))
    assert found.with_unknown == pytest.approx(10 ** -np.mean([score for score, _, _ in scores]), rel=1e-4)
    assert found.without_unknown == pytest.approx(10 ** -np.mean(known), rel=1e-4)


def test_what_a_search_cannot_read_is_one_line(tmp_path):
    (tmp_path / "lm.binary").write_bytes(b"mmap lm http://kheafield.com/code format version 5\n\0" + bytes(100))
    write_ngram(tmp_path / "lm.arpa", estimated(LINES))
    upper, foreign = [f"W{i}" for i in range(40)], ["ein", "zwei", "drei"]
    faults = {
        "a binary of KenLM": lambda: read_words(tmp_path / "lm.binary", ["w1"]),
        "lacks 40 of 40 words, such as 'W0'; it has them in the other case": lambda: read_words(
            tmp_path / "lm.arpa", upper
        ),
        "another vocabulary": lambda: read_words(tmp_path / "lm.arpa", foreign),
        "has none of the words of dev": lambda: perplexity(tmp_path / "lm.arpa", {"dev": [["W1", "W2"]]}),
        "no text to count": lambda: estimated([[], []]),
        "has <s> as a word": lambda: estimated([["w1", "<s>"]]),
        "never fall": lambda: estimated(LINES, 3, (0, 2, 1)),
    }
    for message, call in faults.items():
        with pytest.raises(UserError, match=message) as error:
            call()
        assert "\n" not in str(error.value)


def test_words_that_the_model_lacks_are_counted(tmp_path, caplog):
    write_ngram(tmp_path / "lm.arpa", estimated(LINES))
    read_words(tmp_path / "lm.arpa", ["w1", "w2", "elsewhere", "nowhere"])
    assert "lacks 2 of 4 words, such as 'elsewhere'" in caplog.text


def test_a_file_keeps_its_model(tmp_path):
    model = estimated(LINES, 4, (0, 0, 1, 1))
    write_ngram(tmp_path / "lm.arpa", model)
    again = read_ngram(tmp_path / "lm.arpa")
    assert again.words == model.words and again.words[:3] == list(SPECIALS)
    for one, other in zip(model.orders, again.orders, strict=True):
        assert (one.keys == other.keys).all()
        np.testing.assert_allclose(one.scores, other.scores, rtol=1e-6)
        np.testing.assert_allclose(one.backoffs, other.backoffs, rtol=1e-6)
    # In any order of its lines, with or without back-off weights of 0, the model is the same.
    lines = (tmp_path / "lm.arpa").read_text().splitlines()
    for start in [i for i, line in enumerate(lines) if line.startswith("\\") and "grams" in line]:
        stop = next(i for i in range(start, len(lines)) if not lines[i])
        part = [line.removesuffix("\t0") for line in lines[start + 1 : stop]]
        random.Random(0).shuffle(part)
        lines[start + 1 : stop] = part
    (tmp_path / "lm.arpa").write_text("\n".join(lines) + "\n")
    shuffled, encoded = read_ngram(tmp_path / "lm.arpa"), Vocabulary(model.words)
    scores = shuffled.log_probs(Vocabulary(shuffled.words).encode("held out", HELD_OUT))
    np.testing.assert_allclose(scores, model.log_probs(encoded.encode("held out", HELD_OUT)), atol=1e-5)
