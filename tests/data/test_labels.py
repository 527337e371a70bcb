"""``labels`` of a data directory: read and written alike, checked with the rest, mended with it, and carried by its parts."""

from dataclasses import replace

import numpy as np
import pytest

from audiorec.audio.read import write
from audiorec.data.fix import fix_data_dir
from audiorec.data.kaldi import Utterance, read_data_dir, write_data_dir
from audiorec.data.select import combine, first
from audiorec.data.utterance import Stretch
from audiorec.data.validate import validate

MUSIC, SPEECH = Stretch(2.0, 2.5, "music"), Stretch(10.25, 11.0, "speech")


@pytest.fixture
def folder(tmp_path):
    utterances = []
    for name, labels in {"u1": (MUSIC, SPEECH), "u1-a": (SPEECH,), "u2": ()}.items():
        path = tmp_path / f"{name}.wav"
        write(path, np.ones(8000 * 12, np.float32) / 10, 8000)
        utterances.append(Utterance(name, name, path, 0.0, None, "", "one", labels=labels))
    write_data_dir(tmp_path / "data", utterances)
    return tmp_path / "data"


def test_what_is_written_reads_back_and_needs_no_text(folder):
    utterances = read_data_dir(folder, require_text=False)
    assert [u.labels for u in utterances] == [(MUSIC, SPEECH), (SPEECH,), ()]
    assert (folder / "labels").read_text().splitlines()[1] == "u1 10.250000 11.000000 speech"
    assert not validate(folder)
    write_data_dir(folder, first(utterances, 1))
    assert (folder / "labels").read_text().count("\n") == 2
    write_data_dir(folder, combine([utterances[1:]]))
    assert read_data_dir(folder, require_text=False)[0].labels == (SPEECH,)
    write_data_dir(folder, [replace(u, labels=()) for u in utterances])
    assert not (folder / "labels").exists()


@pytest.mark.parametrize(
    "lines, complaint",
    [
        ("u1 1.0 2.0", "labels:1: expected 'u1 START END LABEL', times in seconds and a label of one word"),
        ("u1 2.0 1.0 x", "labels:1: utterance 'u1': 2.0 to 1.0 s is no stretch: it needs 0 <= start < end"),
        ("u1 1 3 x\nu1 2 4 y", "labels:2: utterance 'u1': overlaps line 1, and a frame has one label: cut one of them"),
        ("u3 1 3 x", "labels:1: utterance 'u3' is not in wav.scp"),
        ("u1 11 13 x", "labels:1: ends at 13 s, but 'u1' lasts 12.000 s"),
        ("u2 1 2 x\nu1 1 2 x", "labels:2: is not in order: sort the file with LC_ALL=C sort"),
    ],
)
def test_a_wrong_line_is_named(folder, lines, complaint):
    (folder / "labels").write_text(lines + "\n")
    assert [str(problem) for problem in validate(folder)] == [complaint]


def test_those_of_lost_utterances_are_left_out(folder):
    (folder / "utt2spk").write_text("u1 one\nu2 one\n")
    fix_data_dir(folder)
    assert [u.labels for u in read_data_dir(folder, require_text=False)] == [(MUSIC, SPEECH), ()]
