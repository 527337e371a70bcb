"""Every fault of a data directory is reported, with its file and line, in one pass; a sound one has none."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiorec.audio.read import write
from audiorec.data.kaldi import Utterance, write_data_dir
from audiorec.data.validate import shorten, validate

DIGITS = Path(__file__).parents[2] / "egs" / "digits" / "recordings"


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three sound recordings of 2 s; r1 holds the utterances a, b, c, 0.5 s each, r2 d, e, f, and r3 g."""
    utterances = []
    for number, name in enumerate("abcdefg"):
        recording, start = f"r{number // 3 + 1}", number % 3 / 2
        path = tmp_path / f"{recording}.wav"
        write(path, np.full(16000, 0.1), 8000)
        utterances.append(Utterance(name, recording, path, start, start + 0.5, f"word {name}", "s"))
    write_data_dir(tmp_path, utterances)
    return tmp_path


def edit(path: Path, old: str, new: str, encoding: str = "utf-8") -> None:
    content = path.read_bytes()
    assert content.count(old.encode()) == 1, f"the test expects {old!r} once in {path.name}"
    path.write_bytes(content.replace(old.encode(), new.encode(encoding)))


def reports(folder: Path, **options) -> list[str]:
    return [str(problem) for problem in validate(folder, **options)]


def test_sound_directories_have_no_problems(folder):
    assert reports(DIGITS) == []
    assert reports(folder, sample_rate=8000, deep=True) == []


def test_all_faults_are_found_in_one_pass(folder):
    edit(folder / "wav.scp", "r3 r3.wav\n", "r3 none.wav\nr4 sox in.wav -t wav - |\nr0 r1.wav\n")
    data = (folder / "r2.wav").read_bytes()
    (folder / "r2.wav").write_bytes(data[: len(data) // 2])
    edit(folder / "segments", "b r1 0.500000 1.000000", "b r1 1.000000 0.500000")
    edit(folder / "segments", "c r1 1.000000 1.500000", "c r1 1.000000 2.500000")
    edit(folder / "segments", "d r2 0.000000 0.500000", "d r9 -0.500000 0.500000")
    edit(folder / "segments", "e r2 0.500000 1.000000", "e r2 0.500000")
    edit(folder / "segments", "f r2 1.000000 1.500000\n", "")
    edit(folder / "text", "a word a", "a word é", "latin-1")
    edit(folder / "text", "b word b", "b")
    edit(folder / "text", "c word c\n", "c word c\nc word c again\n")
    edit(folder / "text", "d word d", "d word\u00a0d")
    edit(folder / "text", "e word e\n", "e word e\r\n\n")
    edit(folder / "text", "g word g\n", "h word h\n")
    edit(folder / "utt2spk", "a s\nb s\n", "b s\na s\n")
    edit(folder / "utt2spk", "c s\n", "c s t\n")
    edit(folder / "utt2spk", "d s\n", "")
    found = reports(folder)
    expected = [
        "wav.scp:2: recording 'r2': ... cut short",
        "wav.scp:3: recording 'r3': ... no such file",
        "wav.scp:4: recording 'r4' is a command",
        "wav.scp:4: recording 'r4' has no utterance in segments",
        "wav.scp:5: recording 'r0' has no utterance in segments",
        "wav.scp:5: is not in order",
        "segments:2: utterance 'b': starts at 1 s, not before its end at 0.5 s",
        "segments:3: utterance 'c', 1 to 2.5 s, is not within recording 'r1', which lasts 2.000 s",
        "segments:4: utterance 'd' is not in utt2spk",
        "segments:4: utterance 'd': recording 'r9' is not in wav.scp",
        "segments:4: utterance 'd': starts at -0.5 s",
        "segments:5: expected 'e RECORDING START END'",
        "segments:6: utterance 'g' is not in text",
        "text:1: byte 8 is not UTF-8",
        "text:2: utterance 'b' has an empty transcript",
        "text:4: utterance 'c' appears twice (first in line 3)",
        "text:5: '\\xa0' in column 7",
        "text:6: ends in a carriage return",
        "text:7: is blank",
        "text:8: utterance 'f' is not in segments",
        "text:9: utterance 'h' is not in segments",
        "utt2spk:2: is not in order",
        "utt2spk:3: utterance 'c' needs one speaker, not 's t'",
        "utt2spk:5: utterance 'f' is not in segments",
    ]
    missed = [line for line in expected if not any(all(p in text for p in line.split("...")) for text in found)]
    assert not missed
    assert len(found) == len(expected), found
    places = [(problem.file, problem.line) for problem in validate(folder)]
    assert places == [(line.split(":")[0], int(line.split(":")[1])) for line in expected]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("text", None, ["text: no such file"]),
        ("wav.scp", None, ["wav.scp: no such file"]),
        ("utt2spk", None, []),
        ("text", b"", ["text: is empty"]),
        ("segments", b"", ["segments: is empty"]),
        ("text", b"\xef\xbb\xbfa one\n", ["text:1: starts with a byte order mark"]),
        ("text", b"a one\r\n", ["text:1: ends in a carriage return: convert"]),
        ("text", b"a \xe3\x80\x80one\n", ["text:1: '\\u3000' in column 3"]),
        ("text", b" a\tone \n", []),
        ("text", b"a one", []),
        ("wav.scp", b"a\n", ["wav.scp:1: recording 'a' has no file"]),
        ("wav.scp", b"a a.wav\na a.wav\n", ["wav.scp:2: recording 'a' appears twice"]),
        ("spk2utt", b"s a\n", []),
        ("spk2utt", b"s a b\n", ["spk2utt:1: speaker 's' has other utterances than in utt2spk: `audiorec data fix`"]),
        ("spk2utt", b"t a\n", ["spk2utt: lacks speaker 's'", "spk2utt:1: speaker 't' has other utterances"]),
        ("reco2file_and_channel", b"a call B\n", []),
        ("reco2file_and_channel", b"a call left\n", ["reco2file_and_channel:1: expected 'a FILE SIDE'"]),
        (
            "reco2file_and_channel",
            b"b call A\n",
            [
                "wav.scp:1: recording 'a' is not in reco2file",
                "reco2file_and_channel:1: recording 'b' is not in wav.scp",
            ],
        ),
        ("segments", b"a a nan 1\n", ["segments:1: utterance 'a': times nan and 1 must be finite"]),
        ("segments", b"a a 0 2.05\n", []),
        ("segments", b"a a 1 -1\n", []),
        ("segments", b"a a 2 -1\n", ["segments:1: utterance 'a', 2 to 2 s, is not within"]),
    ],
)
def test_a_single_fault_gives_a_single_report(tmp_path, name, content, expected):
    write(tmp_path / "a.wav", np.full(16000, 0.1), 8000)
    write_data_dir(tmp_path, [Utterance("a", "a", tmp_path / "a.wav", 0.0, 1.0, "one", "s")])
    (tmp_path / name).unlink(missing_ok=True)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    found = reports(tmp_path)
    assert len(found) == len(expected), found
    assert all(text.startswith(start) for text, start in zip(found, expected, strict=True))


def test_line_ends_and_order_are_told_once_a_file(folder):
    for name in ("text", "utt2spk"):
        (folder / name).write_bytes((folder / name).read_bytes().replace(b"\n", b"\r\n"))
    lines = (folder / "text").read_bytes().splitlines(keepends=True)
    (folder / "text").write_bytes(b"".join(reversed(lines)))
    start, mend = "ends in a carriage return, like 6 more: ", "convert the file with dos2unix"
    assert reports(folder) == [
        f"text:1: {start}{mend}",
        "text:2: is not in order, like 5 more: sort the file with LC_ALL=C sort",
        f"utt2spk:1: {start}{mend}",
    ]


def test_bad_audio_is_reported_for_its_line(folder):
    soundfile.write(folder / "r1.wav", np.zeros(0), 8000)
    (folder / "r2.wav").write_text("no audio")
    (folder / "r3.wav").unlink()
    (folder / "r3.wav").mkdir()
    for text, complaint in zip(reports(folder), ["no samples", "not readable as audio", "a folder"], strict=True):
        assert text.startswith("wav.scp:") and complaint in text


def test_deep_finds_what_headers_hide(folder):
    (folder / "r1.wav").unlink()
    write(folder / "r1.flac", np.random.default_rng(0).uniform(-0.5, 0.5, 16000), 8000)
    edit(folder / "wav.scp", "r1.wav", "r1.flac")
    data = (folder / "r1.flac").read_bytes()
    (folder / "r1.flac").write_bytes(data[: len(data) // 2])
    soundfile.write(folder / "r2.wav", np.full(16000, np.nan), 8000, subtype="FLOAT")
    assert reports(folder) == []
    first, second = reports(folder, deep=True)
    assert first.startswith("wav.scp:1: recording 'r1': ") and "cut short or damaged" in first
    assert second.startswith("wav.scp:2: recording 'r2': ") and "sample 0 is nan" in second


def test_a_wanted_sample_rate(folder):
    write(folder / "r2.wav", np.full(32000, 0.1), 16000)
    assert reports(folder, sample_rate=8000) == ["wav.scp:2: recording 'r2' has 16000 Hz, not 8000: convert it"]


def test_text_may_be_left_out_where_it_is_not_needed(folder):
    (folder / "text").unlink()
    assert reports(folder, require_text=False) == []


def test_spk2utt_without_utt2spk_is_a_problem(folder):
    (folder / "utt2spk").rename(folder / "spk2utt")
    (folder / "spk2utt").write_text("s a b c d e f g\n")
    assert reports(folder) == ["spk2utt: comes without utt2spk: `audiorec data fix` makes that from it"]


def test_a_channel_beyond_those_of_the_file_is_a_problem(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.full((8000, 2), 0.1), 8000)
    write_data_dir(tmp_path, [Utterance("a", "a", tmp_path / "a.wav", 0.0, None, "one", "s", channel=1)])
    assert reports(tmp_path) == []
    edit(tmp_path / "reco2file_and_channel", "B", "C")
    assert reports(tmp_path) == ["reco2file_and_channel:1: recording 'a' has 2 channels: it has no number 3"]


def test_a_flood_of_problems_of_one_kind_is_cut(tmp_path):
    """A lost cache: no recording is there."""
    names = [f"speaker-{number:04d}" for number in range(2580)]
    write_data_dir(tmp_path, [Utterance(n, n, tmp_path / f"{n}.flac", 0.0, None, "one", n) for n in names])
    edit(tmp_path / "text", "speaker-0007 one", "speaker-0007")
    problems = validate(tmp_path)
    lines = list(shorten(problems, 10))
    assert len(problems) == 2581 and len(lines) == 12
    assert lines[9].startswith("wav.scp:10: recording 'speaker-0009'") and lines[9].endswith("no such file")
    assert lines[10] == "wav.scp: and 2570 more like this"
    assert lines[11].startswith("text:8: utterance 'speaker-0007' has an empty transcript")
    assert list(shorten(problems, 0)) == list(map(str, problems))
    assert list(shorten(problems[:10], 10)) == list(map(str, problems[:10]))


def test_a_missing_folder_is_a_problem(tmp_path):
    assert reports(tmp_path / "none") == [f"{tmp_path / 'none'}: no such folder"]
