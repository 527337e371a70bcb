"""Results as text for other programs: the formats as their readers want them."""

import json
import re

import pytest

from audiorec.cli.transcribe import Format
from audiorec.evaluation.ctm import read_ctm
from audiorec.transcript import Piece, Result, Segment
from audiorec.transcript.formats import FORMATS, LINE, LINES, SECONDS, cues


def spoken(*words: tuple[str, float, float]) -> Segment:
    pieces = [Piece(*word, 0.875) for word in words]
    return Segment(" ".join(piece.text for piece in pieces), pieces, pieces)


RESULT = Result([spoken(("one", 0.5, 0.8), ("two", 0.8, 1.25)), spoken(('a<b&"c', 3661.5, 3662.0))])
LONG = Result([spoken(*((f"word{i % 7}" * (1 + i % 3), 0.4 * i, 0.4 * i + 0.3) for i in range(90)))])


def test_srt():
    assert FORMATS["srt"](RESULT, "x") == (
        '1\n00:00:00,500 --> 00:00:01,250\none two\n\n2\n01:01:01,500 --> 01:01:02,000\na<b&"c\n'
    )


def test_vtt():
    assert FORMATS["vtt"](RESULT, "x") == (
        'WEBVTT\n\n00:00:00.500 --> 00:00:01.250\none two\n\n01:01:01.500 --> 01:01:02.000\na&lt;b&amp;"c\n'
    )


def test_json_is_the_dict_on_one_line():
    line = FORMATS["json"](RESULT, "a b.wav")
    assert line.count("\n") == 1 and json.loads(line) == {"name": "a b.wav", **RESULT.to_dict()}


def test_ctm_is_read_back(tmp_path):
    (tmp_path / "words.ctm").write_text(FORMATS["ctm"](RESULT, "a b"))
    words = read_ctm(tmp_path / "words.ctm")["a_b"]
    assert [word.text for word in words] == ["one", "two", 'a<b&"c']
    assert [word.begin for word in words] == [0.5, 0.8, 3661.5]
    assert FORMATS["ctm"](RESULT, "x").splitlines()[0] == "x 1 0.500 0.300 one 0.88"


def test_a_textgrid_fills_the_time():
    text = FORMATS["textgrid"](RESULT, "x")
    bounds = re.findall(r"xmin = (\S+)\n            xmax = (\S+)\n            text = \"(.*)\"\n", text)
    assert [word for *_, word in bounds] == ["", "one", "two", "", 'a<b&""c']
    assert [end for _, end, _ in bounds][:-1] == [start for start, *_ in bounds][1:]
    assert f"intervals: size = {len(bounds)}" in text and "xmax = 3662\n" in text


def test_subtitles_are_short_and_lose_no_word():
    shown = cues(LONG)
    assert " ".join(line for cue in shown for line in cue.lines) == LONG.text
    assert all(len(cue.lines) <= LINES and cue.end - cue.start <= SECONDS for cue in shown)
    assert all(len(line) <= LINE for cue in shown for line in cue.lines)
    assert max(len(cue.lines) for cue in shown) == LINES and len(shown) > 5


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_said(name):
    assert "None" not in FORMATS[name](Result([]), "x")


def test_the_command_offers_each():
    assert {format.value for format in Format} == set(FORMATS)
