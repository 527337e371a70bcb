"""Errors as Kaldi counts them: by hand, and as its own code sorts them where several ways are as short."""

import json

import pytest

from audiorec.errors import UserError
from audiorec.evaluation.kaldi import KaldiScore, kaldi_score
from tests.command import here as run


def test_the_lines_are_kaldis():
    lines = "%WER 3.45 [ 12 / 348, 3 ins, 4 del, 5 sub ]\n%SER 20.00 [ 2 / 10 ]"
    assert str(KaldiScore(348, 3, 4, 5, 10, 2)) == lines


# Recorded from Kaldi's code (kaldialign 0.12), with which 20,000 random pairs agreed.
@pytest.mark.parametrize(
    ("said", "heard", "edits"),
    [
        ("one two three", "two three", (0, 1, 0)),
        ("c a", "a b", (1, 1, 0)),  # and not two substitutions
        ("b a", "c c b", (1, 0, 2)),
        ("a a c", "c b", (1, 2, 0)),
        ("a a b c", "c b a", (0, 1, 2)),
        ("a b c c a", "b a c", (0, 2, 1)),
        ("", "a b", (2, 0, 0)),
        ("a b", "", (0, 2, 0)),
    ],
)
def test_errors_are_sorted_as_kaldi_sorts_them(said, heard, edits):
    score = kaldi_score({"x": said, "y": "end"}, {"x": heard, "y": "end"})
    assert score == (len(said.split()) + 1, *edits, 2, 1)


def test_what_cannot_be_scored_is_refused():
    assert str(kaldi_score({"a": "x y"}, {"a": " x  y"})).startswith(
        "%WER 0.00 [ 0 / 2, 0 ins, 0 del, 0 sub ]\n%SER 0.00"
    )
    with pytest.raises(UserError, match="empty"):
        kaldi_score({"a": ""}, {"a": "x"})
    with pytest.raises(UserError, match="1 without a hypothesis"):
        kaldi_score({"a": "x", "b": "x"}, {"a": "x"})


def test_score_prints_them_beside_its_own_after_the_same_normalisation(tmp_path):
    (tmp_path / "text").write_text("u1 One two, three\nu2 four\n")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/text").write_text("u1 two three three\nu2 four\n")
    normalize = {"case": "lower", "unicode": "NFC", "punctuation": False}
    (tmp_path / "out/decode.json").write_text(json.dumps({"mode": "offline", "normalize": normalize}))
    done = run("score", tmp_path / "text", tmp_path / "out", "--kaldi")
    assert done.returncode == 0, done.stderr
    assert "\n%WER 50.00 [ 2 / 4, 1 ins, 1 del, 0 sub ]\n%SER 50.00 [ 1 / 2 ]\n" in done.stdout
    kept = json.loads((tmp_path / "out/score.json").read_text())["kaldi"]
    assert kept == {"words": 4, "insertions": 1, "deletions": 1, "substitutions": 0, "utterances": 2, "wrong": 1}
    assert "%WER" not in run("score", tmp_path / "text", tmp_path / "out").stdout
