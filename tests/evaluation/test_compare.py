"""Two systems on one test set, n-best lists, and rates by group: laws, brute force, and a simulated truth."""

import numpy as np
import pytest

from audiorec.errors import UserError
from audiorec.evaluation import compare, errors_and_words, grouped, oracle, read_nbest, score
from tests.evaluation.test_wer import edit_distance, random_texts


def flipped(rng: np.random.Generator, ref: dict[str, str], rate: float) -> dict[str, str]:
    return {name: " ".join("x" if rng.random() < rate else w for w in text.split()) for name, text in ref.items()}


@pytest.fixture(scope="module")
def reference():
    return {f"u{i}": "a b c d e" for i in range(200)}


def test_a_system_does_not_differ_from_itself(reference):
    hyp = flipped(np.random.default_rng(0), reference, 0.1)
    assert compare(reference, hyp, hyp) == (0.0, (0.0, 0.0), 1.0)


def test_the_order_of_the_systems_is_the_sign(reference):
    rng = np.random.default_rng(1)
    a, b = flipped(rng, reference, 0.1), flipped(rng, reference, 0.2)
    one, other = compare(reference, a, b), compare(reference, b, a)
    assert one.difference == pytest.approx(score(reference, a).wer - score(reference, b).wer) == -other.difference
    assert one.p < 0.01 and other.p < 0.01
    assert one.interval[0] < one.difference < one.interval[1] < 0


def test_equal_systems_are_called_different_as_often_as_chance_says(reference):
    """5 % of 100 pairs, give or take 4 standard deviations; a law of the test, not of a seed."""
    rng = np.random.default_rng(2)
    pairs = [compare(reference, flipped(rng, reference, 0.1), flipped(rng, reference, 0.1)).p for _ in range(100)]
    assert sum(p < 0.05 for p in pairs) <= 14 and np.mean(pairs) == pytest.approx(0.5, abs=0.15)


def test_the_systems_must_have_the_same_utterances(reference):
    with pytest.raises(UserError, match="the same utterances"):
        compare(reference, reference, {"other": "a"})


def test_the_oracle_takes_the_best_text_of_each_list(tmp_path):
    ref, _ = random_texts(3)
    lists = [random_texts(seed)[1] for seed in range(3)]
    nbest = {name: [texts[name] for texts in lists[: 1 + i % 3]] for i, name in enumerate(ref)}
    lines = [f"{name}-{rank} {text}".rstrip() for name, texts in nbest.items() for rank, text in enumerate(texts, 1)]
    (tmp_path / "nbest").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert read_nbest(tmp_path / "nbest") == nbest
    errors = sum(min(edit_distance(ref[n].split(), t.split()) for t in texts) for n, texts in nbest.items())
    assert oracle(ref, nbest) == errors / sum(len(text.split()) for text in ref.values())


def test_a_line_without_a_rank_is_refused(tmp_path):
    (tmp_path / "nbest").write_text("utterance one\n")
    with pytest.raises(UserError, match="utterance: expected `utterance-rank words`"):
        read_nbest(tmp_path / "nbest")


def test_groups_sum_to_the_whole():
    ref, hyp = random_texts(4)
    counts = errors_and_words(ref, hyp)
    groups = grouped(counts, [i % 3 for i in range(len(ref))])
    assert sum(group["words"] * group["wer"] for group in groups.values()) == pytest.approx(counts[:, 0].sum())
    assert sum(group["words"] for group in groups.values()) == counts[:, 1].sum() == score(ref, hyp).words
