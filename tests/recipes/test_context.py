"""What the hotwords' measurement counts: phrases decoded where they occur, and false alarms."""

import runpy

from tests.conftest import ROOT


def test_phrases_are_counted_where_they_occur(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "egs/digits/local")
    count_phrases = runpy.run_path(str(ROOT / "egs/digits/local/context.py"))["count_phrases"]
    references = {"a": "one two three four", "b": "five", "c": "one two three one two three"}
    decoded = {"a": "one two three", "b": "two three four", "c": "one two three five"}
    assert count_phrases(references, decoded, ["one two three", "two three four"]) == (2, 4, 1)
