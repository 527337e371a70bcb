"""The microphone's display: partial lines rewritten in place, ended lines kept, and Ctrl-C loses no word."""

import contextlib
import io
import signal
import subprocess
import sys
import time
import types

import numpy as np
import pytest

import audiorec
from audiorec.audio.read import write
from audiorec.serving.mic import BARS, Microphone, as_if_live, meter, microphones, show
from audiorec.transcript import Result, Segment


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
    assert all(line == "" or (line[0] in BARS and line[1] == " ") for line in lines[:-1])
    assert all(expected.startswith(line[2:].removeprefix("…")) or "…" in line for line in lines[:-1])


def test_the_meter_shows_how_loud_it_is():
    silent, full = np.zeros(800, np.float32), np.ones(800, np.float32)
    assert meter(silent) == meter(silent[:0]) == " " and meter(full) == "█"
    bars = [BARS.index(meter(full * 10 ** (-decibels / 20))) for decibels in range(0, 70, 3)]
    assert bars == sorted(bars, reverse=True) and set(bars) == set(range(len(BARS)))


def test_microphones_are_listed_as_the_option_takes_them(monkeypatch):
    module = FakePortAudio(0, {})
    module.query_devices = lambda: [
        {"name": "speakers", "default_samplerate": 48000.0, "max_input_channels": 0},
        {"name": "headset", "default_samplerate": 16000.0, "max_input_channels": 1},
    ]
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    assert microphones() == ["1  headset, 16000 Hz"]


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


class Segmented:
    """A recogniser whose stream ends a segment at every second piece, as one with endpoints does."""

    def stream(self, sample_rate):
        self.pieces = 0
        return self

    def result(self, count):
        return Result([Segment(f"segment {i}") for i in range(count)])

    def accept(self, samples):
        self.pieces += 1
        return self.result(self.pieces // 2).segments[-1:] if self.pieces % 2 == 0 else []

    def partial(self):
        return self.result((self.pieces + 1) // 2)

    finish = partial


@pytest.mark.parametrize("pieces, lines", [(5, 3), (4, 2), (1, 1)])
def test_each_segment_is_written_once(pieces, lines):
    pipe, terminal = io.StringIO(), Terminal()
    for out in (pipe, terminal):
        assert len(show(Segmented(), [np.zeros(800)] * pieces, 8000, out).segments) == lines
    expected = [f"segment {i}" for i in range(lines)]
    assert pipe.getvalue().splitlines() == expected
    assert [line.split("\r\x1b[K")[-1] for line in terminal.getvalue().split("\n")[:-1]] == expected


class FakePortAudio(types.ModuleType):
    """Pieces of 0.1 s reach the callback faster than anyone reads them."""

    PortAudioError = ValueError

    def __init__(self, pieces: int, overflows: dict[int, float]):
        super().__init__("sounddevice")
        self.pieces, self.overflows = pieces, overflows

    def InputStream(self, rate, size, device, channels, dtype, callback):
        @contextlib.contextmanager
        def running():
            clock = 5.0
            for i in range(self.pieces):
                clock += self.overflows.get(i, 0.0)
                when = types.SimpleNamespace(inputBufferAdcTime=clock)
                status = types.SimpleNamespace(input_overflow=i in self.overflows)
                callback(np.full((size, channels), i, np.float32), size, when, status)
                clock += size / rate
            yield

        return running()


@pytest.mark.parametrize(
    "pieces, overflows, loss",
    [
        (100, {}, None),
        (130, {}, "3.0 s of audio were lost in 1 gap:"),
        (20, {4: 0.5, 9: 1.5}, "2.0 s of audio were lost in 2 gaps:"),
        (110, {4: 0.5}, "1.5 s of audio were lost in 2 gaps:"),
    ],
)
def test_lost_audio_is_counted_and_the_queue_is_bounded(monkeypatch, pieces, overflows, loss):
    monkeypatch.setitem(sys.modules, "sounddevice", FakePortAudio(pieces, overflows))
    microphone = Microphone(8000)
    heard = iter(microphone)
    assert [int(next(heard)[0]) for _ in range(min(pieces, 100))] == list(range(min(pieces, 100)))
    assert microphone._queue.empty() and (microphone.loss() or "").find(loss or "") >= 0
    assert (microphone.loss() is None) == (loss is None)
