"""Progress: a bar in a terminal, lines in a file now and then, nothing for short work."""

import io
import re
import sys

import pytest

from audiorec.evaluation import progress as module
from audiorec.evaluation.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def work() -> None:
    with progress("decoding", 3) as advance:
        for _ in range(3):
            advance(1)


@pytest.mark.parametrize("seconds", [0.0, 30.0])
def test_a_file_gets_a_line_where_the_work_takes_long(monkeypatch, capsys, seconds):
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", seconds)
    work()
    lines = capsys.readouterr().err.splitlines()
    expected = ["decoding: 1 of 3, about", "decoding: 2 of 3, about"] if seconds == 0 else []
    assert [re.sub(r"about.*", "about", line) for line in lines] == expected


def test_a_terminal_gets_a_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    work()
    assert "decoding" in terminal.getvalue() and "3/3" in terminal.getvalue()
