"""The microphone's display: partial lines rewritten in place, ended lines kept, and Ctrl-C loses no word."""

import io
import signal
import subprocess
import sys
import time

import pytest

import audiorec
from audiorec.audio.read import write
from audiorec.serving.mic import as_if_live, show


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(scope="module")
def recording(tmp_path_factory, speech):
    path = tmp_path_factory.mktemp("audio") / "speech.wav"
    write(path, speech[:40000], 8000)
    return path


def test_lines_grow_in_place_and_end_with_all_words(model_dir, recording):
    recognizer, terminal = audiorec.load(model_dir), Terminal()
    expected = recognizer.transcribe(recording).text
    result = show(recognizer, (piece for piece, _ in as_if_live(recording, speed=0)), 8000, terminal)
    lines = terminal.getvalue().split("\r\x1b[K")
    assert result.text == expected and lines[-1] == expected + "\n" and len(lines) > 3
    assert all(line == "" or expected.startswith(line.removeprefix("…")) or "…" in line for line in lines[:-1])


def test_elsewhere_only_ended_lines_are_written(model_dir, recording):
    recognizer, pipe = audiorec.load(model_dir), io.StringIO()
    show(recognizer, (piece for piece, _ in as_if_live(recording, speed=0)), 8000, pipe)
    assert pipe.getvalue() == recognizer.transcribe(recording).text + "\n"


def test_a_recording_is_played_at_its_speed(recording):
    began = time.monotonic()
    pieces = list(as_if_live(recording, speed=10))
    assert 0.45 < time.monotonic() - began < 5 and {rate for _, rate in pieces} == {8000}
    assert [len(piece) for piece, _ in pieces] == [800] * 50


def test_ctrl_c_prints_the_last_words_and_ends_well(model_dir, recording):
    code = "from audiorec.cli import main; main()"
    command = [sys.executable, "-c", code, "mic", str(model_dir), "--file", str(recording), "--speed", "0.5"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr.readline().startswith("playing")
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert out.strip() and audiorec.load(model_dir).transcribe(recording).text.startswith(out.split()[0])
