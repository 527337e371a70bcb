"""Offline and live are one: any pieces, any rate, any type of samples give the words and times of the whole."""

import random
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

import audiorec
from audiorec.audio.read import write
from audiorec.errors import UserError


@pytest.fixture(scope="module")
def recognizer(model_dir):
    return audiorec.load(model_dir)


def pieces(samples: np.ndarray, seed: int) -> list[np.ndarray]:
    draw, parts, at = random.Random(seed), [], 0
    while at < len(samples):
        size = draw.choice([0, 1, 7, 80, 333, 1600, 20000])
        parts.append(samples[at : at + size])
        at += size
    return parts


def test_the_model_says_something(recognizer, speech):
    assert len(set(recognizer.transcribe(speech).text.split())) > 3


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("seed", [0, 1])
def test_pieces_give_the_words_of_the_whole(recognizer, speech, rate, seed):
    samples = speech[: 10 * 8000].repeat(rate // 8000) if rate % 8000 == 0 else np.interp(
        np.arange(10 * rate) / rate, np.arange(10 * 8000) / 8000, speech[: 10 * 8000]
    ).astype(np.float32)  # fmt: skip
    whole = recognizer.transcribe(samples, sample_rate=rate)
    stream = recognizer.stream(sample_rate=rate)
    said = ""
    for piece in pieces(samples, seed):
        stream.accept(piece)
        assert stream.partial().text.startswith(said)  # greedy search takes nothing back
        said = stream.partial().text
    result = stream.finish()
    assert result.segments == whole.segments and result.text.startswith(said) and whole.text


def test_batches_files_arrays_and_tensors_agree(recognizer, speech, tmp_path):
    parts = [speech[:40000], speech[40000:47001], speech[50000:50001]]
    expected = [recognizer.transcribe(part).segments for part in parts]
    assert [result.segments for result in recognizer.transcribe_batch(parts)] == expected
    assert [r.segments for r in recognizer.transcribe([torch.from_numpy(part) for part in parts])] == expected
    whole = np.round(parts[0] * 32767).astype(np.int16)
    write(tmp_path / "a.wav", whole, 8000)
    assert recognizer.transcribe(tmp_path / "a.wav").segments == recognizer.transcribe(whole).segments


def test_words_have_times_in_order(recognizer, speech):
    result = recognizer.transcribe(speech)
    assert [word.text for word in result.words] == result.text.split()
    assert all(0 <= w.start < w.end <= len(speech) / 8000 + 0.03 for w in result.words)
    assert all(a.start < b.start for a, b in zip(result.words, result.words[1:], strict=False))


def test_streams_share_a_model_and_nothing_else(recognizer, speech):
    expected = [recognizer.transcribe(speech[i * 8000 : i * 8000 + 16000]).text for i in range(3)]
    streams = [recognizer.stream() for _ in range(3)]
    for start in range(0, 16000, 500):
        for i, stream in enumerate(streams):
            stream.accept(speech[i * 8000 + start : i * 8000 + start + 500])
    assert [stream.finish().text for stream in streams] == expected


def test_nothing_heard_is_nothing_said(recognizer):
    assert recognizer.stream().finish().segments == []
    stream = recognizer.stream()
    stream.accept(np.zeros(0, np.float32))
    assert stream.finish().text == stream.partial().text == ""


def test_errors_are_one_clear_line(recognizer, model_dir, tmp_path):
    finished = recognizer.stream()
    finished.finish()
    for message, call in {
        "not finite|nan": lambda: recognizer.stream().accept(np.array([0.0, np.nan], np.float32)),
        "finished": lambda: finished.accept(np.zeros(5, np.float32)),
        "is finished and cannot finish": finished.finish,
        "sample_rate": lambda: recognizer.stream(0),
        "no samples": lambda: recognizer.transcribe(np.zeros(0, np.float32)),
        "no such file": lambda: recognizer.transcribe(tmp_path / "none.wav"),
        "no head 'rnnt'; it has ctc": lambda: audiorec.load(model_dir, head="rnnt"),
    }.items():
        with pytest.raises(UserError, match=f"(?i){message}") as error:
            call()
        assert "\n" not in str(error.value)


def test_a_second_thread_is_refused_and_nothing_is_lost(recognizer, speech, monkeypatch):
    stream, refused = recognizer.stream(), []
    step = recognizer.model.step

    def while_another_calls(*arguments):
        def call():
            for use in (lambda: stream.accept(speech[:100]), stream.partial, stream.finish):
                with pytest.raises(UserError, match="another thread uses it") as error:
                    use()
                refused.append(error)

        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        return step(*arguments)

    monkeypatch.setattr(recognizer.model, "step", while_another_calls)
    stream.accept(speech[:16000])
    monkeypatch.undo()
    assert len(refused) >= 3
    assert stream.finish().segments == recognizer.transcribe(speech[:16000]).segments


def test_samples_that_are_refused_leave_the_stream_as_it_was(recognizer, speech):
    stream = recognizer.stream()
    for start in range(0, 16000, 1000):
        stream.accept(speech[start : start + 1000])
        with pytest.raises(UserError, match="sample 1 is nan"):
            stream.accept(np.array([0.1, np.nan], np.float32))
    assert stream.finish().segments == recognizer.transcribe(speech[:16000]).segments


def test_long_audio_takes_no_more_memory(recognizer, speech, tmp_path):
    def peak(minutes: float) -> int:
        path = tmp_path / f"{minutes}.flac"
        write(path, np.tile(speech, int(minutes * 2)), 8000)
        tracemalloc.start()  # numpy's arrays; torch's own are those of one step
        recognizer.transcribe(path)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    assert peak(6) < 1.3 * peak(2) + 2**20


LONG = """
import sys, audiorec
from audiorec.audio.read import blocks
stream, words = audiorec.load(sys.argv[1]).stream(segments_only=True), 0
kept = []
for samples, _ in blocks(sys.argv[2], seconds=1):
    words += sum(len(segment.words) for segment in stream.accept(samples))
    kept.append(len(stream.partial().tokens) + len(stream._levels.between(0, 10**9)))
words += len(stream.finish().words)
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]
print(words, max(kept[:300]), max(kept), stream._runner.state_bytes, peak)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_three_hours_of_many_words_stream_through_in_constant_memory(model_dir, speech, tmp_path):
    figures = []
    for minutes in (5, 180):
        path = tmp_path / f"{minutes}.flac"
        write(path, np.tile(speech, 2 * minutes), 8000)
        done = subprocess.run([sys.executable, "-c", LONG, model_dir, path], capture_output=True, text=True)
        figures.append([int(figure) for figure in done.stdout.split()])
    (few, _, _, state, peak), (many, at_first, at_last, same, last) = figures
    assert many > 100_000 and 35 < many / few < 37
    assert at_last <= 1.5 * at_first and state == same
    assert last < peak + 50_000  # kilobytes; the samples alone are 346 MB
