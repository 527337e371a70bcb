"""Word error rates against a brute-force edit distance, their interval's coverage, alignments, and Kaldi text files."""

import random

import numpy as np
import pytest

from audiorec.errors import UserError
from audiorec.evaluation import alignments, confidence_interval, differences, read_text, score


def edit_distance(reference, hypothesis) -> int:
    row = list(range(len(hypothesis) + 1))
    for i, expected in enumerate(reference, 1):
        previous, row[0] = row[0], i
        for j, got in enumerate(hypothesis, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (expected != got))
    return row[-1]


def random_texts(seed: int) -> tuple[dict[str, str], dict[str, str]]:
    """Words of one to three letters; every fourth text is empty."""
    rng = random.Random(seed)

    def text() -> str:
        length = rng.choice([0, rng.randint(1, 8), rng.randint(1, 8), rng.randint(1, 8)])
        return " ".join("".join(rng.choices("abé", k=rng.randint(1, 3))) for _ in range(length))

    return {f"u{i}": text() for i in range(40)}, {f"u{i}": text() for i in range(40)}


@pytest.mark.parametrize("seed", range(5))
def test_errors_are_the_edit_distance(seed):
    ref, hyp = random_texts(seed)
    result = score(ref, dict(reversed(hyp.items())))
    errors = [edit_distance(ref[key].split(), hyp[key].split()) for key in ref]
    words = sum(len(text.split()) for text in ref.values())
    assert result.substitutions + result.deletions + result.insertions == sum(errors)
    assert result.insertions - result.deletions == sum(len(text.split()) for text in hyp.values()) - words
    assert (result.utterances, result.words) == (40, words)
    assert result.wer == sum(errors) / words
    assert result.sentence_error_rate == sum(error > 0 for error in errors) / 40
    characters = sum(edit_distance(ref[key], hyp[key]) for key in ref)
    assert result.cer == characters / sum(map(len, ref.values()))
    assert result.interval[0] < result.wer < result.interval[1]


def test_empty_references_count_as_insertions():
    result = score({"a": "one two", "b": "", "c": ""}, {"a": "one two", "b": "oh well no", "c": ""})
    assert (result.insertions, result.substitutions, result.deletions) == (3, 0, 0)
    assert (result.wer, result.sentence_error_rate) == (1.5, 1 / 3)
    assert np.isfinite(result.interval).all()


def test_spaces_are_no_errors_and_case_is():
    assert score({"a": " one  two "}, {"a": "one two"}).wer == 0
    assert score({"a": "one two"}, {"a": "One two"}).wer == 0.5


def test_the_interval_holds_the_truth_about_19_times_in_20():
    """Test sets of utterances whose error rates are 1, 5 or 30 %: the truth they are drawn from is 12 %."""
    rng = np.random.default_rng(1)
    words = rng.integers(1, 10, (300, 150))
    errors = rng.binomial(words, rng.choice([0.01, 0.05, 0.3], words.shape))
    intervals = [confidence_interval(*pair) for pair in zip(errors, words, strict=True)]
    held = [low <= 0.12 <= high for low, high in intervals]
    assert 0.91 <= np.mean(held) <= 0.98


def test_the_interval_does_not_depend_on_the_order():
    rng = np.random.default_rng(2)
    words = rng.integers(0, 9, 200)
    errors = rng.integers(0, 4, 200)
    order = rng.permutation(200)
    assert confidence_interval(errors, words) == confidence_interval(errors[order], words[order])


@pytest.mark.parametrize(
    ("ref", "hyp", "message"),
    [
        ({"a": "x", "b": "x"}, {"a": "x"}, r"1 without a hypothesis \(b\)"),
        ({"a": "x"}, dict.fromkeys("abcde", "x"), r"4 without a reference \(b, c, d, …\)"),
        ({"a": "x"}, {"b": "x"}, r"1 without a hypothesis \(a\) and 1 without a reference \(b\)"),
        ({}, {}, "no utterances"),
        ({"a": " "}, {"a": "x"}, "references of all 1 utterances are empty"),
    ],
)
def test_what_cannot_be_scored(ref, hyp, message):
    with pytest.raises(UserError, match=message):
        score(ref, hyp)


def test_alignments_show_every_utterance():
    ref = {"right": "one", "worst": "one two three", "silence": "", "bad": "four"}
    hyp = {"right": "one", "worst": "won two", "silence": "", "bad": "five"}
    assert next(alignments(ref, hyp)).splitlines() == ["right: 0 errors in 1 words", "REF: one", "HYP: one"]
    blocks = list(alignments(ref, hyp, worst_first=True))
    assert [block.split(":")[0] for block in blocks] == ["worst", "bad", "right", "silence"]
    assert blocks[0].splitlines() == [
        "worst: 2 errors in 3 words",
        "REF: one two three",
        "HYP: won two *****",
        "       S         D",
    ]


def test_differences_are_in_words_only():
    assert differences({"b": "x", "a": "y  z", "c": "u"}, {"a": "y z", "c": "v", "b": "X"}) == ["b", "c"]


def test_text_files(tmp_path):
    path = tmp_path / "text"
    path.write_text("u1 one  two\r\nu2\nu3\tdrei\u00a0vier", encoding="utf-8")
    assert read_text(path) == {"u1": "one two", "u2": "", "u3": "drei vier"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a one\na two\n", "line 2: utterance a stands twice"),
        (b"a one\n\nb two\n", "line 2: empty"),
        (b"a one\nb \xff\n", "line 2: not UTF-8"),
        (None, "cannot be read"),
    ],
)
def test_damaged_text_files(content, message, tmp_path):
    path = tmp_path / "text"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=f"{path}: {message}"):
        read_text(path)
