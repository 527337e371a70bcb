"""Corpora are found under $AUDIOREC_DATA, unpacked once, and a message says what to put where."""

import tarfile

import pytest

from audiorec.data.corpora import find_corpus
from audiorec.errors import UserError


def test_folder_archive_and_nothing(tmp_path, monkeypatch):
    home, cache = tmp_path / "home", tmp_path / "cache"
    monkeypatch.setenv("AUDIOREC_DATA", str(home))
    with pytest.raises(UserError, match=r"corpus tiny: neither .*tiny nor .*tiny\.tar"):
        find_corpus("tiny", cache)
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "a.txt").write_text("a")
    home.mkdir()
    with tarfile.open(home / "tiny.tar", "w") as tar:
        tar.add(tmp_path / "tiny", "tiny")
    found = find_corpus("tiny", cache)
    assert (found / "a.txt").read_text() == "a" and [p.name for p in cache.iterdir()] == ["tiny"]
    (home / "tiny.tar").unlink()
    assert find_corpus("tiny", cache) == found  # unpacked once
    (home / "tiny").mkdir()
    assert find_corpus("tiny", cache) == home / "tiny"
    (home / "torn.tar").write_bytes(b"not a tar")
    with pytest.raises(UserError, match=r"torn\.tar: not a tar archive"):
        find_corpus("torn", cache)
    monkeypatch.delenv("AUDIOREC_DATA")
    assert find_corpus("tiny", cache) == found
    with pytest.raises(UserError, match="corpus torn: set AUDIOREC_DATA"):
        find_corpus("torn", cache)
