"""256 live sessions of real recordings at once: who joins, leaves or floods changes nobody's words."""

import random
import tarfile

import numpy as np
import pytest
from soundfile import read

import audiorec
from tests.live.recognizers import build
from tests.live.test_engine import in_threads

SESSIONS = 256
RATES = [8000, 16000, 44100, 48000]
PACKETS = [1, 160, 4000, 5.0]  # samples; the last one is seconds
HOTWORDS = [None, ["one"], ["seven nine", "two"], ["four five six"]]


@pytest.fixture(scope="module")
def recordings(shared, speech, tmp_path_factory) -> list[np.ndarray]:
    """Digits, and read English from mini LibriSpeech, at 8 kHz."""
    folder = tmp_path_factory.mktemp("mini")
    with tarfile.open(shared / "data" / "mini_librispeech.tar") as archive:
        names = [member for member in archive if member.name.endswith(".opus") and "test" in member.name][:24]
        archive.extractall(folder, names, filter="data")
    english = [read(folder / member.name, dtype="float32")[0][::2] for member in names]
    return english + [speech[i * 9000 :][:9000] for i in range(24)]


@pytest.mark.parametrize(
    "setup",
    ["ctc", *(pytest.param(name, marks=pytest.mark.slow) for name in ("rnnt", "tdt", "ctc beam with hotwords"))],
)
def test_each_result_is_that_of_its_recording_alone(setup, recordings, speech):
    recognizer, draw = build(setup, speech), random.Random(setup)
    beam = recognizer.search_config.kind == "beam"
    clips = []
    for i in range(SESSIONS):
        rate, samples = draw.choice(RATES), recordings[i % len(recordings)]
        start, seconds = draw.random() * len(samples) / 16000, draw.choice([0, 0.02, 0.5, 1, 3])
        at = start + np.arange(round(seconds * rate)) / rate
        clip = np.interp(at * 8000, np.arange(len(samples)), samples)
        clips.append((rate, np.round(clip * 32767).astype(np.int16), {"hotwords": HOTWORDS[i % 4]} if beam else None))

    def client(i):
        draw, (rate, samples, search) = random.Random(i), clips[i]
        sizes = draw.choice(PACKETS), draw.choice(PACKETS)
        with engine.session(rate, search, wait=True) as session:
            at = packets = 0
            while at < len(samples):
                size = draw.choice(sizes)
                size = round(size * rate) if isinstance(size, float) else size if packets < 300 else 4000
                session.accept(samples[at : at + size].tobytes() if i % 2 else samples[at : at + size])
                at, packets = at + size, packets + 1
                if i % 8 == 5 and at > len(samples) // 2:
                    session.cancel()
                    return None
            return session.finish()

    def in_turn(first):
        return [client(i) for i in range(first, SESSIONS, 64)]  # who leaves is followed by another

    with audiorec.Engine(recognizer, slots=48) as engine:
        rows = in_threads([lambda first=first: in_turn(first) for first in range(64)], seconds=500)
        assert engine.stats().streams == 0 and engine.stats().batch_fill > 0.02
    results = [rows[i % 64][i // 64] for i in range(SESSIONS)]
    assert sum(result is None for result in results) > 8
    words = differ = 0
    for (rate, samples, search), result in zip(clips, results, strict=True):
        if result is None:
            continue
        with recognizer.stream(rate, search) as alone:
            alone.accept(samples)
        alone = alone.partial()
        words += len(alone.words)
        if min(alone.margin, result.margin) >= 1e-4:
            differ += result.segments != alone.segments
    assert differ == 0 and words > 1000
