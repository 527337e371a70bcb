"""An engine of many streams: each gets the words that its recording has alone, whoever comes, goes and floods."""

import random
from threading import Thread

import numpy as np
import pytest
import torch

import audiorec
from audiorec.config import parse
from audiorec.errors import UserError
from audiorec.models import AsrModel, ModelConfig
from audiorec.search import SearchConfig
from audiorec.text import train_tokenizer
from tests.conftest import TINY, WORDS

RATES = [8000, 16000, 44100, 48000]
SETUPS = {
    "ctc": ("ctc", "greedy"),
    "ctc-beam": ("ctc", "beam"),
    "rnnt": ({"transducer": {"loss": "pruned"}}, "greedy"),
    "tdt": ({"transducer": {"loss": "tdt"}}, "greedy"),
}


def make_recognizer(heads, search):
    torch.manual_seed(3)
    tokenizer = train_tokenizer("word", [WORDS])
    model = AsrModel(parse(ModelConfig, {**TINY, "heads": heads}), tokenizer.size)
    with torch.no_grad():
        model.features.set_statistics(torch.full((20,), -9.0), torch.full((20,), 3.0))
        for parameter in [*model.encoder.parameters(), *model.heads.parameters()]:
            parameter.mul_(2)
        if heads == "ctc":
            model.head().linear.weight.mul_(10)
            model.head().linear.bias.zero_()
    return audiorec.Recognizer(model, tokenizer, search=parse(SearchConfig, {"kind": search}))


@pytest.fixture(scope="module")
def recognizer(model_dir):
    return audiorec.load(model_dir)


def in_threads(calls) -> list:
    """What each call returns; an error in any is raised here."""
    results = [None] * len(calls)

    def call(i):
        try:
            results[i] = calls[i]()
        except BaseException as error:
            results[i] = error

    threads = [Thread(target=call, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "an engine that hangs"
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


@pytest.mark.parametrize("setup", SETUPS)
def test_every_session_has_the_words_of_its_recording_alone(setup, speech):
    recognizer, draw = make_recognizer(*SETUPS[setup]), random.Random(0)
    clips = []
    for _ in range(24):
        rate, seconds, start = draw.choice(RATES), draw.choice([0, 0.001, 0.03, 0.5, 1, 2, 4]), draw.random() * 20
        at = start + np.arange(round(seconds * rate)) / rate
        clips.append((rate, np.interp(at * 8000, np.arange(len(speech)), speech).astype(np.float32)))

    def client(i):
        draw, (rate, samples) = random.Random(i), clips[i]
        with engine.session(rate, wait=True) as session:
            at = 0
            while at < len(samples):
                size = draw.choice([1, 7, 160, 1600, 5 * rate])
                session.accept(samples[at : at + size])
                at += size
                if draw.random() < 0.02:
                    session.partial()
                if i % 6 == 5 and at > len(samples) // 2:
                    session.cancel()
                    return None
            return session.finish()

    with audiorec.Engine(recognizer, slots=5, queue_seconds=0.5) as engine:
        results = in_threads([lambda i=i: client(i) for i in range(24)])
        stats = engine.stats()
    assert stats.slots == 5 and 0 < stats.batch_fill <= 1 and stats.state_bytes > 0 and stats.real_time_factor > 0
    assert 0 < stats.latency_ms[0] <= stats.latency_ms[1] <= stats.latency_ms[2]
    heard = 0
    for (rate, samples), result in zip(clips, results, strict=True):
        if result is None:
            continue
        alone = recognizer.transcribe(samples, rate) if len(samples) else recognizer.stream(rate).finish()
        if min(alone.margin, result.margin) >= 1e-4:
            assert result.segments == alone.segments
            heard += len(alone.tokens)
    assert heard > 20


def test_a_full_queue_and_a_long_session_are_refused(recognizer, speech):
    with audiorec.Engine(recognizer, slots=1, queue_seconds=1) as engine:
        session, taken = engine.session(seconds=10), 0
        with engine._device:  # the worker stands still
            with pytest.raises(UserError, match="do not fit in the queue"):
                while True:
                    session.accept(speech[taken : taken + 1000], block=False)
                    taken += 1000
            with pytest.raises(UserError, match="all 1 slots are in use"):
                engine.session()
        with pytest.raises(UserError, match="longer than the seconds"):
            session.accept(np.zeros(80001, np.float32))
        with pytest.raises(UserError, match="sample 1 is nan"):
            session.accept(np.array([0, np.nan], np.float32))
        session.accept(speech[taken:40000])
        assert session.finish().segments == recognizer.transcribe(speech[:40000]).segments
        with pytest.raises(UserError, match="is finished and cannot accept"):
            session.accept(speech)


def test_close_finishes_every_session(recognizer, speech):
    engine = audiorec.Engine(recognizer, slots=3)
    sessions = [engine.session() for _ in range(3)]
    for i, session in enumerate(sessions):
        session.accept(speech[i * 16000 :][: 16000 + i])
    engine.close()
    for i, session in enumerate(sessions):
        alone = recognizer.transcribe(speech[i * 16000 :][: 16000 + i])
        assert session.partial().segments == session.finish().segments == alone.segments
        with pytest.raises(UserError, match="stream: the engine was closed and cannot accept samples"):
            session.accept(speech)
    with pytest.raises(UserError, match="engine: is closed"):
        engine.session()
    engine.close()


def test_a_slot_is_free_after_cancel_and_after_an_error(recognizer, speech):
    with audiorec.Engine(recognizer, slots=1) as engine:
        with pytest.raises(ZeroDivisionError), engine.session() as session:
            session.accept(speech[:8000])
            raise ZeroDivisionError
        session = engine.session(wait=True)
        session.accept(speech[:16000])
        assert session.finish().segments == recognizer.transcribe(speech[:16000]).segments


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_of_the_model_is_told_to_every_session(model_dir, speech, monkeypatch):
    engine = audiorec.Engine(audiorec.load(model_dir), slots=2)
    sessions = [engine.session() for _ in range(2)]
    monkeypatch.setattr(engine._runner, "begin", lambda samples, rows: 1 / 0)
    sessions[0].accept(speech[:8000])
    for session in sessions:
        with pytest.raises(UserError, match="engine: stopped by an error: ZeroDivisionError"):
            session.finish()
    engine.close()
