"""`audiorec data fix` mends what tables alone can tell, says what it did, and keeps the former files."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from audiorec.audio.read import write
from audiorec.cli import app
from audiorec.data.fix import fix_data_dir
from audiorec.data.kaldi import Utterance, read_data_dir, write_data_dir
from audiorec.data.validate import validate
from audiorec.errors import UserError


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two sound recordings of 2 s: r1 holds the utterances a, b, c of 0.5 s, r2 d, e, f."""
    utterances = []
    for number, name in enumerate("abcdef"):
        recording, start = f"r{number // 3 + 1}", number % 3 / 2
        path = tmp_path / f"{recording}.wav"
        write(path, np.full(16000, 0.1), 8000)
        utterances.append(Utterance(name, recording, path, start, start + 0.5, f"word {name}", "st"[number // 3]))
    write_data_dir(tmp_path, utterances)
    (tmp_path / "spk2utt").write_text("s a b c\nt d e f\n")
    return tmp_path


def tables(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.suffix != ".wav"}


def edit(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))


def test_a_sound_directory_stays_as_it_is(folder):
    before = tables(folder)
    assert fix_data_dir(folder) == [] and tables(folder) == before and not (folder / ".backup").exists()


@pytest.mark.parametrize(
    ("name", "change", "done"),
    [
        ("text", lambda data: b"".join(reversed(data.splitlines(True))), "text: sorted"),
        ("text", lambda data: data.replace(b"\n", b"\r\n"), "text: 6 carriage returns left out"),
        ("text", lambda data: b"\xef\xbb\xbf" + data, "text: line ends put right"),
        ("text", lambda data: data.rstrip(b"\n"), "text: line ends put right"),
        ("text", lambda data: data + b"\n \n", "text: 2 blank lines left out"),
        ("text", lambda data: data.replace(b"a word a", b"a\tword  a "), "text: spaces put right in 1 line"),
        ("text", lambda data: data + data[:9], "text: 1 doubled line left out"),
        ("text", lambda data: data + b"g word g\n", "text: 1 line left out: utterances that are not in every file (g)"),
        ("segments", lambda data: data + b"x r1 2 1\n", "segments: 1 line left out: no start before an end (x)"),
        ("segments", lambda data: data + b"x r9 0 1\n", "segments: 1 line left out: their recording is not in wav.scp (x)"),
        ("wav.scp", lambda data: data + b"r3 r3.wav\n", "wav.scp: 1 line left out: recordings that are not in every file (r3)"),
        ("spk2utt", lambda data: data.replace(b"t d e", b"t e"), "spk2utt: made anew from utt2spk"),
        ("utt2spk", lambda data: None, "utt2spk: made from spk2utt"),
    ],
)  # fmt: skip
def test_each_fault_is_mended_and_told_and_the_former_file_is_kept(folder, name, change, done):
    sound = tables(folder)
    broken = change(sound[name])
    (folder / name).unlink()
    if broken is not None:
        (folder / name).write_bytes(broken)
    assert fix_data_dir(folder) == [done]
    assert tables(folder) == sound and validate(folder) == []
    if broken is not None:
        assert (folder / ".backup" / name).read_bytes() == broken


def test_an_utterance_that_one_file_lacks_goes_from_all(folder):
    others = {"utt2dur": "a 0.5\nd 0.5\n", "reco2dur": "r1 2\nr2 2\n", "spk2gender": "s f\nt m\n", "vad.scp": "e x\n"}
    for name, content in others.items():
        (folder / name).write_text(content)
    edit(folder / "text", b"a word a\n", b"a\n")
    for line in (b"d t\n", b"e t\n", b"f t\n"):
        edit(folder / "utt2spk", line, b"")
    done = fix_data_dir(folder)
    assert [u.id for u in read_data_dir(folder)] == ["b", "c"] and validate(folder) == []
    assert (folder / "spk2utt").read_text() == "s b c\n" and (folder / "wav.scp").read_text() == "r1 r1.wav\n"
    assert [(folder / name).read_text() for name in others] == ["", "r1 2\n", "s f\n", ""]
    assert (
        "text: 1 line left out: no words (a); 3 lines left out: utterances that are not in every file (d, e, f)" in done
    )


def test_what_cannot_be_mended_stays(folder):
    before = tables(folder)
    (folder / "text").write_text("x one\n")
    with pytest.raises(UserError, match="no utterance is in"):
        fix_data_dir(folder)
    assert tables(folder) == before | {"text": b"x one\n"}
    (folder / "text").write_bytes(b"a caf\xe9\n")
    with pytest.raises(UserError, match=r"text:1: byte 6 is not UTF-8"):
        fix_data_dir(folder)
    with pytest.raises(UserError, match="no such folder"):
        fix_data_dir(folder / "none")


def test_the_command_says_what_it_did_and_what_is_left(folder):
    edit(folder / "text", b"a word a\n", b"a word a \n\n")
    run = CliRunner().invoke(app, ["data", "fix", str(folder)])
    assert run.exit_code == 0, run.output
    assert run.output == (
        f"{folder}/text: 1 blank line left out; spaces put right in 1 line\n{folder}: no problems\n"
    )  # fmt: skip
    (folder / "r1.wav").unlink()
    for command in ("fix", "validate"):
        run = CliRunner().invoke(app, ["data", command, str(folder)])
        assert run.output.startswith(f"{folder}/wav.scp:1: recording 'r1'")
        assert isinstance(run.exception, UserError) and str(run.exception) == f"{folder}: 1 problem"


def test_the_command_runs_pipes_only_where_it_may(folder):
    (folder / "wav.scp").write_text(f"r1 cat '{folder}/r1.wav' |\nr2 r2.wav\n")
    run = CliRunner().invoke(app, ["data", "validate", str(folder)])
    assert run.exit_code and "recording 'r1' is a command" in run.output
    assert CliRunner().invoke(app, ["data", "validate", "--allow-pipes", str(folder)]).exit_code == 0
