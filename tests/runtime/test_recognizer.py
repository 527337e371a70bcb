"""An exported folder transcribes and streams: the words of the whole at any chunking, alone and in an engine."""

import random

import numpy as np
import pytest

from audiorec.live import Engine
from audiorec.runtime import load
from audiorec.transcript import EndpointConfig
from tests.runtime.handmade import FIRST, PERIOD, RATE, STRIDE, expected, make

CASES = {"ctc": ("ctc", (0,)), "ctc, fixed steps": ("ctc", (1, 2, 4)), "rnnt": ("rnnt", (0,)), "tdt": ("tdt", (0,))}
LENGTHS = [0, 1, 79, 80, 81, FIRST - 1, FIRST, FIRST + 1, FIRST + PERIOD, 1000, 8000, 8001, 20000]


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    kind, steps = CASES[request.param]
    return kind, load(make(tmp_path_factory.mktemp("export") / "made", kind, steps))


def heard(recognizer, result) -> tuple[list[int], list[int]]:
    """ids and frames of a result's tokens."""
    ids = {piece: i for i, piece in enumerate(recognizer.tokenizer.pieces)}
    tokens = result.tokens
    return [ids[token.text] for token in tokens], [round(token.start * RATE / STRIDE) for token in tokens]


def fed(stream, samples: np.ndarray, draw: random.Random):
    at = 0
    while at < len(samples):
        size = draw.choice([1, 50, PERIOD, 333, 5000])
        stream.accept(samples[at : at + size])
        at += size
    return stream.finish()


def test_a_stream_has_the_words_of_the_whole(case, speech):
    kind, recognizer = case
    told = 0
    for i, length in enumerate(LENGTHS):
        samples = speech[i * 4000 :][:length]
        *wanted, margin = expected(kind, samples) if length else ([], [], np.inf)
        result = fed(recognizer.stream(), samples, random.Random(i))
        assert heard(recognizer, result) == tuple(wanted), length
        assert result.margin == pytest.approx(margin, abs=1e-4)
        told += len(result.tokens)
        if length:
            assert recognizer.transcribe(samples).segments == result.segments
    assert told > 30


def test_symbols_a_frame_are_as_many_as_asked_for(tmp_path, speech):
    folder, counts = make(tmp_path / "made", "rnnt"), []
    for asked in (None, 2, 1):
        result = load(folder, search={"max_symbols": asked}).transcribe(speech[:20000])
        frames = [token.start for token in result.tokens]
        counts.append(max(map(frames.count, frames)))
    assert counts == [3, 2, 1]


def test_an_engine_gives_each_session_its_own_words(case, speech):
    _, recognizer = case
    clips = [speech[i * 3000 :][:length] for i, length in enumerate(LENGTHS[1:] * 3)]
    together = recognizer.transcribe(clips)
    for clip, result in zip(clips, together, strict=True):
        assert result.segments == recognizer.transcribe(clip).segments
    with Engine(recognizer, slots=3) as engine:
        sessions = [engine.session() for _ in range(3)]
        for session, clip in zip(sessions, clips[9:12], strict=True):
            session.accept(clip)
        for session, clip in zip(sessions, clips[9:12], strict=True):
            assert session.finish().segments == recognizer.transcribe(clip).segments
        assert engine.stats().state_bytes > 0


def test_segments_and_boundaries_are_those_at_any_chunking(case, speech, tmp_path):
    _, recognizer = case
    recognizer.endpoint = EndpointConfig(silence=0.1, silence_after_words=0.03, longest=0.4)
    try:
        samples = speech[:24000]
        whole = recognizer.transcribe(samples)
        assert len(whole.segments) > 2
        for seed in range(3):
            assert fed(recognizer.stream(), samples, random.Random(seed)).segments == whole.segments
        stream = recognizer.stream()
        stream.accept(samples[:8123])
        stream.flush("reset")
        first, rest = stream.partial().text, recognizer.transcribe(samples[8123:]).text
        assert first == recognizer.transcribe(samples[:8123]).text
        stream.accept(samples[8123:])
        assert stream.finish().text == f"{first} {rest}"
        stream = recognizer.stream()
        stream.accept(samples[:8123])
        stream.flush("carry")
        padded = np.concatenate([samples[:8123], np.zeros(stream.silence, np.float32), samples[8123:]])
        stream.accept(samples[8123:])
        recognizer.endpoint = None
        assert stream.finish().text == recognizer.transcribe(padded).text
    finally:
        recognizer.endpoint = EndpointConfig()
