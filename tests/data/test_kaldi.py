"""Kaldi data directories: what is written reads back, and utterances are slices of fully decoded recordings."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiorec.audio import read as audio
from audiorec.data import kaldi
from audiorec.data.fix import fix_data_dir
from audiorec.data.kaldi import Recordings, Utterance, read_data_dir, write_data_dir
from audiorec.data.utterance import Pipe
from audiorec.data.validate import validate
from audiorec.errors import UserError

DIGITS = Path(__file__).parents[2] / "egs" / "digits" / "recordings"


def utterance(id: str = "a", recording: str = "a", path: str = "a.wav", start=0.0, end=None, text="one", speaker="s"):
    return Utterance(id, recording, path if isinstance(path, Pipe) else Path(path), start, end, text, speaker)


def files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_the_digits_read_as_they_are_written():
    utterances = read_data_dir(DIGITS)
    assert len(utterances) == 3000
    assert utterances[1] == Utterance(
        "george-0-01", "george", DIGITS / "george.opus", 0.348, 0.938875, "zero", "george"
    )


def test_what_is_written_reads_back(tmp_path):
    utterances = [
        utterance("é-1", "r2", str(tmp_path / "audio" / "r2.opus"), 0.5, 1.25, "naïve 你好", "é"),
        utterance("b", "r1", str(tmp_path / "data" / "wav" / "r 1.wav"), 0.0, 3.0, "two words", "b"),
        utterance("a-10", "r2", str(tmp_path / "audio" / "r2.opus"), 1.25, None, "", "a"),
        utterance("a", "r2", str(tmp_path / "audio" / "r2.opus"), 1.3, 1.4, "x", "a"),
    ]
    write_data_dir(tmp_path / "data", utterances)
    assert read_data_dir(tmp_path / "data", require_text=False) == sorted(utterances, key=lambda u: u.id)
    assert files(tmp_path / "data") == {
        "wav.scp": f"r1 wav/r 1.wav\nr2 {tmp_path}/audio/r2.opus\n",
        "segments": "a r2 1.300000 1.400000\na-10 r2 1.250000 -1\nb r1 0.000000 3.000000\né-1 r2 0.500000 1.250000\n",
        "text": "a x\na-10\nb two words\né-1 naïve 你好\n",
        "utt2spk": "a a\na-10 a\nb b\né-1 é\n",
    }
    assert os.listdir(tmp_path) == ["data"]


def test_whole_recordings_need_no_segments_and_no_text(tmp_path):
    write_data_dir(tmp_path / "data", [utterance(text="")])
    assert sorted(files(tmp_path / "data")) == ["utt2spk", "wav.scp"]
    with pytest.raises(UserError, match=r"text: no such file .*audiorec data validate"):
        read_data_dir(tmp_path / "data")
    (found,) = read_data_dir(tmp_path / "data", require_text=False)
    assert (found.id, found.recording, found.start, found.end, found.text) == ("a", "a", 0.0, None, "")
    (tmp_path / "data" / "utt2spk").unlink()
    assert read_data_dir(tmp_path / "data", require_text=False)[0].speaker == "a"


def test_a_relative_path_is_looked_for_in_the_directory_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "wav.scp").write_text("a both.wav\nb here.wav\nc nowhere.wav\n")
    for path in ("data/both.wav", "both.wav", "here.wav"):
        (tmp_path / path).touch()
    paths = [found.path for found in read_data_dir("data", require_text=False)]
    assert paths == [Path("data/both.wav"), Path("here.wav"), Path("data/nowhere.wav")]


def test_spaces_and_tabs_separate_as_in_kaldi(tmp_path):
    write_data_dir(tmp_path, [utterance("a", path="my  audio.wav", text="one two"), utterance("b", "b", "b.wav")])
    expected = read_data_dir(tmp_path)
    (tmp_path / "wav.scp").write_text("a\t my  audio.wav \nb\tb.wav\n")
    (tmp_path / "text").write_text("a\tone \t two  \n b one\n")
    (tmp_path / "utt2spk").write_text("a  s\t\nb s \n")
    found = read_data_dir(tmp_path)
    assert [(u.id, u.text, u.speaker, u.path.name) for u in found] == [
        ("a", "one two", "s", "my  audio.wav"), ("b", "one", "s", "b.wav")
    ]  # fmt: skip
    assert [u.text for u in found] == [u.text for u in expected]


def test_rewriting_a_directory_keeps_its_audio_and_leaves_nothing_stale(tmp_path):
    folder = tmp_path / "data"
    write_data_dir(folder, [utterance(path=str(folder / "a.wav"), end=1.0)])
    (folder / "a.wav").write_text("audio")
    (folder / "spk2utt").write_text("s of earlier utterances\n")
    write_data_dir(folder, [utterance(path=str(folder / "a.wav"))])
    assert files(folder) == {"a.wav": "audio", "wav.scp": "a a.wav\n", "text": "a one\n", "utt2spk": "a s\n"}


@pytest.mark.parametrize(
    ("utterances", "complaint"),
    [
        ([], "wav.scp: is empty"),
        ([utterance(), utterance()], "'a' appears twice"),
        ([utterance(id="a b")], "'a b' is empty or has spaces"),
        ([utterance(speaker="")], "'' is empty or has spaces"),
        ([utterance(), utterance("b", path="b.wav", end=1.0)], "'a' is two files"),
        ([utterance(start=2.0, end=1.0)], "segments:1: utterance 'a': starts at 2 s, not before its end"),
        ([utterance(path="sox a.wav |")], "sox a.wav |: a file whose name ends in | would read as a command"),
    ],
    ids=["nothing", "twins", "spaces", "no speaker", "two files", "times", "command"],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path, utterances, complaint):
    write_data_dir(tmp_path / "data", [utterance(text="before")])
    with pytest.raises(UserError) as caught:
        write_data_dir(tmp_path / "data", utterances)
    assert complaint in str(caught.value) and "data" in str(caught.value)
    assert os.listdir(tmp_path) == ["data"]
    assert read_data_dir(tmp_path / "data")[0].text == "before"


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("wav.scp", b"a ffmpeg -i a.mp3 - |\n", "wav.scp:1: recording 'a' is a command: name a file"),
        ("text", b"a caf\xe9\n", "text:1: byte 6 is not UTF-8"),
        ("segments", b"a a 0 x\n", "segments:1: expected 'a RECORDING START END'"),
    ],
)
def test_the_first_problem_is_the_error(tmp_path, name, content, complaint):
    write_data_dir(tmp_path, [utterance()])
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_data_dir(tmp_path)
    assert f"{tmp_path}/{complaint}" in str(caught.value) and "\n" not in str(caught.value)


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    for place, complaint in [("file", "a file, so no data directory"), ("file/data", "cannot be written")]:
        with pytest.raises(UserError, match=complaint):
            write_data_dir(tmp_path / place, [utterance()])


# Channels


@pytest.fixture
def conversation(tmp_path) -> tuple[Path, list[np.ndarray]]:
    """A directory of one recording of two sides, each a recording of its own, and their samples."""
    sides = [np.random.default_rng(side).uniform(-0.5, 0.5, 8000).astype(np.float32) for side in range(2)]
    soundfile.write(tmp_path / "call.wav", np.stack(sides, 1), 8000, subtype="FLOAT")
    utterances = [
        replace(utterance(f"call-{side}", f"call-{side}", tmp_path / "call.wav"), channel=i)
        for i, side in enumerate("AB")
    ]
    write_data_dir(tmp_path, utterances)
    return tmp_path, sides


def test_the_channel_that_reco2file_and_channel_names_is_read(conversation):
    folder, sides = conversation
    assert (folder / "reco2file_and_channel").read_text() == "call-A call A\ncall-B call B\n"
    recordings = Recordings()
    for found, side in zip(read_data_dir(folder), sides, strict=True):
        assert np.array_equal(recordings.samples(found, 8000), side)


def test_channels_are_averaged_where_no_table_names_one(conversation):
    folder, sides = conversation
    (folder / "reco2file_and_channel").unlink()
    for found in read_data_dir(folder):
        assert np.array_equal(Recordings().samples(found, 8000), (sides[0] + sides[1]) / 2)


def test_a_file_of_one_channel_is_the_channel_that_was_extracted(conversation):
    folder, sides = conversation
    soundfile.write(folder / "call.wav", sides[1], 8000, subtype="FLOAT")
    assert np.array_equal(Recordings().samples(read_data_dir(folder)[1], 8000), sides[1])


def test_a_channel_that_the_file_has_not_is_refused(conversation):
    folder, _ = conversation
    (folder / "reco2file_and_channel").write_text("call-A call A\ncall-B call 3\n")
    with pytest.raises(UserError, match=r"call\.wav: has 2 channel\(s\), so no channel 2"):
        Recordings().samples(read_data_dir(folder)[1], 8000)


def test_segments_may_name_the_channel_of_an_utterance(conversation):
    folder, sides = conversation
    path = folder / "call.wav"
    utterances = [
        replace(utterance("a", "call", path, 0.0, 0.5), channel=1),
        utterance("b", "call", path, 0.0, 0.5),
        replace(utterance("c", "call", path, 0.5, None), channel=0),
    ]
    write_data_dir(folder, utterances)
    assert (folder / "segments").read_text() == (
        "a call 0.000000 0.500000 1\nb call 0.000000 0.500000\nc call 0.500000 -1 0\n"
    )
    assert not (folder / "reco2file_and_channel").exists() and read_data_dir(folder) == utterances
    a, b, c = (Recordings().samples(found, 8000) for found in read_data_dir(folder))
    assert np.array_equal(a, sides[1][:4000]) and np.array_equal(c, sides[0][4000:])
    assert np.array_equal(b, ((sides[0] + sides[1]) / 2)[:4000])
    assert fix_data_dir(folder) == [] and validate(folder) == []
    (folder / "segments").write_text("a call 0 0.5 2\nb call 0 0.5 -1\nc call 0.5 -1 0 0\n")
    found = list(map(str, validate(folder)))
    assert found[0] == "segments:1: recording 'call' has 2 channels: it has no number 3"
    assert [line.split("'")[0] for line in found[1:]] == ["segments:2: expected ", "segments:3: expected "]


# Pipes


@pytest.fixture
def piped(tmp_path) -> tuple[Path, np.ndarray]:
    """A data directory of two segments of a wav that a command prints, and its samples."""
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 16000).astype(np.float32)
    soundfile.write(tmp_path / "a b.wav", samples, 8000, subtype="FLOAT")
    pipe = Pipe(f"test ! -e '{tmp_path}/ran twice' && cat '{tmp_path}/a b.wav' | cat")
    clips = [utterance("a", "r", pipe, 0.0, 0.5), utterance("b", "r", pipe, 0.5, None)]
    write_data_dir(tmp_path / "data", clips)
    assert read_data_dir(tmp_path / "data", allow_pipes=True) == clips
    return tmp_path / "data", samples


def test_commands_run_only_where_they_are_allowed(piped):
    folder, samples = piped
    complaint = r"wav\.scp:1: recording 'r' is a command: name a file, or let --allow-pipes run it if you trust it"
    with pytest.raises(UserError, match=complaint):
        read_data_dir(folder)
    assert [str(problem).split(":")[0] for problem in validate(folder)] == ["wav.scp"]
    assert validate(folder, allow_pipes=True) == [] == validate(folder, allow_pipes=True, deep=True)
    recordings = Recordings()
    a, b = read_data_dir(folder, allow_pipes=True)
    assert np.array_equal(recordings.samples(a, 8000), samples[:4000])
    (folder.parent / "ran twice").touch()  # its output is kept
    assert np.array_equal(recordings.samples(b, 8000), samples[4000:])


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("echo one >&2; echo two >&2; exit 3", "ends with exit status 3 (two)"),
        ("true", "prints nothing"),
        ("kill -9 $$", "ends with exit status -9"),
        ("echo hello", "output of `echo hello`: not readable as audio"),
    ],
)
def test_a_command_that_fails_is_named_with_its_recording_and_status(piped, command, complaint):
    folder, _ = piped
    (folder / "wav.scp").write_text(f"r {command} |\n")
    with pytest.raises(UserError) as caught:
        Recordings().samples(read_data_dir(folder, allow_pipes=True)[0], 8000)
    assert str(caught.value).startswith("recording 'r': ") and complaint in str(caught.value)
    (problem,) = validate(folder, allow_pipes=True)
    assert str(problem).startswith("wav.scp:1: recording 'r': ") and complaint in str(problem)


# Recordings


@pytest.mark.parametrize("rate", [8000, 16000])
def test_utterances_are_slices_of_the_full_decode(rate):
    utterances = [found for found in read_data_dir(DIGITS) if found.recording in ("theo", "lucas")]
    recordings = Recordings()
    whole = {name: audio.read(DIGITS / f"{name}.opus", rate)[0] for name in ("theo", "lucas")}
    for found in utterances[::7]:
        samples = recordings.samples(found, rate)
        assert np.array_equal(samples, whole[found.recording][round(found.start * rate) : round(found.end * rate)])


@pytest.fixture
def shelf(tmp_path, monkeypatch) -> tuple[list[Utterance], list[str]]:
    """Three recordings of 1 s (64 kB as float32) and a list that grows by a name whenever one is decoded."""
    utterances, decoded = [], []
    for number, name in enumerate("abc"):
        path = tmp_path / f"{name}.opus"
        audio.write(path, np.full(16000, number / 4), 16000)
        utterances += [utterance(f"{name}-{i}", name, path, i / 10, (i + 1) / 10) for i in range(10)]

    def counting_read(path, rate=None, **options):
        decoded.append(path.stem)
        return audio.read(path, rate, **options)

    monkeypatch.setattr(kaldi, "read", counting_read)
    return utterances, decoded


@pytest.mark.parametrize(
    ("max_bytes", "expected"), [(10**6, "abc"), (130_000, "abcabc"), (0, "abcabc")], ids=["all", "two", "last"]
)
def test_recordings_are_decoded_once_and_forgotten_when_room_is_short(shelf, max_bytes, expected):
    utterances, decoded = shelf
    recordings = Recordings(max_bytes)
    for found in utterances * 2:
        recordings.samples(found, 16000)
    assert "".join(decoded) == expected


def test_the_recording_used_longest_ago_is_forgotten_first(shelf):
    utterances, decoded = shelf
    recordings = Recordings(130_000)  # room for two
    a, b, c = utterances[::10]
    for found in (a, b, a, c, a, b):
        recordings.samples(found, 16000)
    assert "".join(decoded) == "abcb"


def test_samples_belong_to_the_caller(shelf):
    found, recordings = shelf[0][15], Recordings()
    recordings.samples(found, 16000)[:] = 9
    assert recordings.samples(found, 16000).max() < 1


@pytest.mark.parametrize(("start", "end", "length"), [(0.0, None, 16000), (0.5, 1.05, 8000), (0.9, None, 1600)])
def test_segments_may_end_with_or_just_after_the_recording(shelf, start, end, length):
    found = utterance(path=shelf[0][0].path, start=start, end=end)
    assert len(Recordings().samples(found, 16000)) == length


@pytest.mark.parametrize(("start", "end"), [(0.5, 1.2), (1.0, None), (1.01, 1.05), (0.5, 0.5)])
def test_a_segment_outside_its_recording_is_refused(shelf, start, end):
    found = utterance(path=shelf[0][0].path, start=start, end=end)
    with pytest.raises(UserError, match=r"a\.opus: utterance 'a', .* is not within the recording's 1\.000 s"):
        Recordings().samples(found, 16000)


@pytest.mark.parametrize(("start", "end"), [(0.5, 1.2), (1.0, None), (1.01, 1.05)])
def test_a_segment_outside_a_seekable_recording_is_refused_alike(tmp_path, start, end):
    audio.write(tmp_path / "a.flac", np.full(16000, 0.1), 16000)
    with pytest.raises(UserError, match=r"a\.flac: utterance 'a', .* is not within the recording's 1\.000 s"):
        Recordings().samples(utterance(path=tmp_path / "a.flac", start=start, end=end), 16000)
    assert len(Recordings().samples(utterance(path=tmp_path / "a.flac", start=0.5, end=1.05), 16000)) == 8000
