"""Boundaries without closing: what each mode promises, for every search, alone and in an engine, however the samples come."""

import random
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import pytest
import torch

import audiorec
from audiorec.audio.resample import Resampler
from audiorec.errors import UserError
from audiorec.transcript import EndpointConfig
from tests.live.recognizers import SETUPS, build

RATES = [8000, 16000]
LENGTHS = [0, 300, 4001, 9000, 17]  # of the pieces between boundaries, at 8 kHz


@pytest.fixture(scope="module", params=SETUPS)
def recognizer(request, speech):
    return build(request.param, speech)


@contextmanager
def opened(recognizer, where: str, rate: int):
    if where == "alone":
        yield recognizer.stream(rate)
    else:
        with audiorec.Engine(recognizer, slots=2) as engine:
            yield engine.session(rate)


def pieces(speech, rate: int) -> list[np.ndarray]:
    bounds = np.cumsum([9000, *LENGTHS])
    at = [speech[start:end] for start, end in pairwise(bounds)]
    return [piece.repeat(rate // 8000) for piece in at]


def feed(session, samples: np.ndarray, seed: int) -> list:
    draw, at, ended = random.Random(seed), 0, []
    while at < len(samples):
        size = draw.choice([1, 80, 333, 5000])
        ended += session.accept(samples[at : at + size])
        at += size
    return ended


def spoken(tokens, shift: float = 0.0) -> list:
    return [(token.text, round(token.start - shift, 6)) for token in tokens]


@pytest.mark.parametrize("where", ["alone", "engine"])
@pytest.mark.parametrize("rate", RATES)
def test_reset_gives_each_piece_the_words_that_it_has_alone(recognizer, speech, where, rate):
    with opened(recognizer, where, rate) as session:
        heard, at = [], 0.0
        for seed, piece in enumerate(pieces(speech, rate)):
            assert feed(session, piece, seed) == []
            ended = session.flush("reset")
            alone = recognizer.transcribe(piece, rate) if len(piece) else recognizer.stream(rate).finish()
            assert [s.text for s in ended] == [s.text for s in alone.segments]
            for a, b in zip(ended, alone.segments, strict=True):
                assert spoken(a.tokens, at) == spoken(b.tokens)
                assert [w.start - at for w in a.words] == pytest.approx([w.start for w in b.words])
            heard += ended
            at += len(piece) / rate
        assert session.flush("reset") == [] and session.silence == 0
        assert session.finish().segments == heard and heard


@torch.inference_mode()
def offline(recognizer, samples: np.ndarray, rate: int, frames: list[int]) -> list[str]:
    """The tokens of a whole recording, whose hypotheses are decided after these frames; a greedy search's always are."""
    resampler, search = Resampler(rate, recognizer.sample_rate), recognizer.search()
    tail = np.zeros(recognizer.tail, np.float32)
    samples = np.concatenate([resampler.push(samples), resampler.flush(), tail])
    x, _ = recognizer.model(torch.from_numpy(samples)[None])
    state, said = search.initial_state(1), []
    for start, end in zip([0, *frames], [*frames, x.shape[1]], strict=True):
        tokens, state = search.step(x[:, start:end], None, state)
        said += tokens.row(0)[0]
        if end < x.shape[1]:
            tokens, state = search.commit(state)
            said += tokens.row(0)[0]
    said += search.flush(state).row(0)[0]
    return [recognizer.tokenizer.pieces[token] for token in said]


@pytest.mark.parametrize("where", ["alone", "engine"])
@pytest.mark.parametrize("rate", RATES)
def test_carry_gives_the_words_of_the_audio_with_silence_in_it(recognizer, speech, where, rate):
    with opened(recognizer, where, rate) as session:
        audio, heard, given, frames = [], [], 0, []
        for seed, piece in enumerate(pieces(speech, rate)):
            before = session.silence
            heard += feed(session, piece, seed)
            given += len(piece)
            ended = session.flush("carry")
            audio += [piece, np.zeros(session.silence - before, np.float32)]
            frames.append(session._endpointer.frames)
            words = [word for segment in ended for word in segment.words]
            assert all(word.end <= given / rate + 1e-6 for word in words)
            heard += ended
        assert 0 < session.silence < rate * len(pieces(speech, rate))
        result = session.finish()
    whole = np.concatenate(audio)
    said = [token.text for token in result.tokens]
    assert said and said == offline(recognizer, whole, rate, frames)
    if not recognizer.search().revises:  # what is not decided is decided there
        assert result.text == recognizer.transcribe(whole, rate).text
    assert result.segments[: len(heard)] == heard
    bounds = [round(bound, 9) for word in result.words for bound in (word.start, word.end)]
    assert bounds == sorted(bounds)


@pytest.mark.parametrize("where", ["alone", "engine"])
@pytest.mark.parametrize("rate", RATES)
def test_soft_touches_nothing_and_gives_no_word_twice(recognizer, speech, where, rate):
    whole = np.concatenate(pieces(speech, rate))
    with opened(recognizer, where, rate) as session:
        heard = []
        for seed, piece in enumerate(pieces(speech, rate)):
            heard += feed(session, piece, seed)
            heard += session.flush("soft")
        result = session.finish()
    assert result.segments[: len(heard)] == heard and len(result.segments) <= len(heard) + 1
    alone = recognizer.transcribe(whole, rate)
    assert (result.text, spoken(result.tokens)) == (alone.text, spoken(alone.tokens))
    assert [one.text for one in result.nbest] == [one.text for one in alone.nbest]


def test_soft_moves_no_end_that_silence_makes(speech):
    recognizer = build("ctc", speech, EndpointConfig(silence=2, silence_after_words=0.08, quiet_db=12))
    with torch.no_grad():
        recognizer.model.head().linear.bias[0] += 30  # frames without tokens
    counts = []
    for softly in (False, True):
        session, soft = recognizer.stream(), set()
        for piece in np.split(speech, range(1500, len(speech), 1500)):
            session.accept(piece)
            if softly:
                session.flush("soft")
                soft.add(len(session.partial().tokens))
        ends = np.cumsum([len(segment.tokens) for segment in session.finish().segments])
        counts.append(set(ends.tolist()))
    alone, softly = counts
    assert len(alone) > 2 and alone <= softly and softly - alone <= soft


@pytest.mark.parametrize("boundary", ["reset", "carry", "soft"])
def test_how_samples_come_does_not_matter(recognizer, speech, boundary):
    results = []
    for seed in range(3):
        session = recognizer.stream()
        for i, piece in enumerate(pieces(speech, 8000)):
            feed(session, piece, 10 * seed + i)
            session.flush(boundary)
        results.append(session.finish())
    assert results[0].segments == results[1].segments == results[2].segments


def test_an_unknown_boundary_is_refused_and_the_stream_goes_on(recognizer, speech):
    session = recognizer.stream()
    session.accept(speech[:8000])
    with pytest.raises(UserError, match=r"no boundary 'hard'; give reset, carry, soft"):
        session.flush("hard")
    assert session.finish().segments == recognizer.transcribe(speech[:8000]).segments
    with pytest.raises(UserError, match="is finished and cannot flush"):
        session.flush("soft")
