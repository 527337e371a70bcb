"""Long work shows how far it is: lines in a log, a bar in a terminal, nothing where it is short."""

import io
import sys
import tarfile

import numpy as np
import pytest

from audiorec import progress as module
from audiorec.audio.read import write
from audiorec.data.corpora import find_corpus
from audiorec.data.durations import recording_seconds
from audiorec.data.kaldi import Utterance, read_data_dir, write_data_dir
from audiorec.data.validate import validate
from audiorec.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_short_work_writes_nothing_to_a_log_and_long_work_a_line(capsys, monkeypatch):
    for seconds in (30.0, 0.0):
        monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", seconds)
        with progress("files", 4) as advance:
            for count in (1, 2, 1):
                advance(count)
        out, error = capsys.readouterr()
        assert not out and [line.rsplit(",", 1)[0] for line in error.splitlines()] == (
            [] if seconds else ["files: 1 of 4", "files: 3 of 4"]
        )


def test_a_terminal_gets_a_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with progress("files", 4) as advance:
        advance(3)
    assert "files" in sys.stderr.getvalue() and "3/4" in sys.stderr.getvalue()


@pytest.mark.parametrize("work", ["unpack", "validate", "cuts"])
def test_unpacking_and_looking_at_recordings_show_progress(tmp_path, capsys, monkeypatch, work):
    names = ["a", "b", "c"]
    for name in names:
        write(tmp_path / f"{name}.wav", np.random.default_rng(0).uniform(-1, 1, 2**20), 16000)
    write_data_dir(tmp_path, [Utterance(n, n, tmp_path / f"{n}.wav", 0.0, None, "one", n) for n in names])
    with tarfile.open(tmp_path / "tiny.tar", "w") as tar:
        for name in names:
            tar.add(tmp_path / f"{name}.wav", f"tiny/{name}.wav")
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setenv("AUDIOREC_DATA", str(tmp_path))
    if work == "unpack":
        find_corpus("tiny", tmp_path / "cache")
        expected = f"unpacking {tmp_path}/tiny.tar (MB): 2 of 6"
    elif work == "validate":
        validate(tmp_path, deep=True)
        expected = "recordings examined: 1 of 3"
    else:
        recording_seconds(tmp_path, read_data_dir(tmp_path))
        expected = "recordings examined: 2 of 3"
    assert expected in capsys.readouterr().err
