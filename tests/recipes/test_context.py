"""What the hotwords' measurement counts: phrases found where they were said, and found elsewhere."""

import runpy

from tests.conftest import ROOT


def test_phrases_are_counted_where_they_were_said(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "egs/digits/local")
    spotted = runpy.run_path(str(ROOT / "egs/digits/local/context.py"))["spotted"]
    references = {"a": "one two three four", "b": "five", "c": "one two three one two three"}
    said = {"a": "one two three", "b": "two three four", "c": "one two three five"}
    assert spotted(references, said, ["one two three", "two three four"]) == (2, 4, 1)
