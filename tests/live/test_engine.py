"""An engine of many streams: each gets the words that its recording has alone, whoever comes, goes and floods."""

import asyncio
import random
import time
from itertools import pairwise
from threading import Thread

import numpy as np
import pytest
import torch

import audiorec
from audiorec.errors import ConfigError, UserError
from audiorec.search.arpa import write_ngram
from audiorec.search.kneser_ney import estimate_pieces
from audiorec.transcript import ENDPOINT, EndpointConfig
from tests.live.recognizers import SETUPS, build

RATES = [8000, 16000, 44100, 48000]


@pytest.fixture(scope="module")
def recognizer(model_dir):
    return audiorec.load(model_dir)


def in_threads(calls, seconds: float = 60) -> list:
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
        thread.join(seconds)
        assert not thread.is_alive(), "an engine that hangs"
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


@pytest.mark.parametrize("setup", SETUPS)
def test_every_session_has_the_words_of_its_recording_alone(setup, speech):
    recognizer, draw = build(setup, speech, ENDPOINT), random.Random(0)
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
    assert heard > 10


def test_each_session_may_bring_hotwords_and_an_n_gram(model_dir, speech, tmp_path):
    beam = audiorec.load(model_dir, search={"kind": "beam", "hotwords": ["nine"]})
    texts = ["one two three", "seven nine nine", "four"]
    write_ngram(tmp_path / "digits.arpa", estimate_pieces(texts, beam.tokenizer))
    given = [
        None,
        {"hotwords": ["seven nine", "one"], "hotwords_score": 2.0},
        {"hotwords": None},
        {"lm": tmp_path / "digits.arpa"},
    ]
    given[3]["lm_weight"] = 0.8
    clips = [speech[i * 20000 :][: 9000 + 1500 * i] for i in range(12)]
    expected = []
    for i, clip in enumerate(clips):
        keys = {"kind": "beam", "hotwords": ["nine"], **(given[i % 4] or {})}
        expected.append(
            audiorec.load(model_dir, search={k: v for k, v in keys.items() if v is not None}).transcribe(clip)
        )
        with beam.stream(search=given[i % 4]) as stream:
            stream.accept(clip)
        assert stream.partial().segments == expected[-1].segments

    def client(i):
        with engine.session(search=given[i % 4], wait=True) as session:
            for start in range(0, len(clips[i]), 700):
                session.accept(clips[i][start : start + 700])
                session.partial()
            if i % 3 == 0:
                assert [s.text for s in session.flush("reset")] == [expected[i].text]
                session.accept(clips[i])  # it has its own automata after that too
        return session.partial()

    with audiorec.Engine(beam, slots=5) as engine:
        results = in_threads([lambda i=i: client(i) for i in range(12)])
        for search, message in {
            ("kind", "beam"): "search.kind: a session may give hotwords",
            ("hotwords", ("eleven",)): "hotword 'eleven'",
            ("hotwords", 3): "search.hotwords: give a list of phrases",
            ("lm", str(tmp_path / "none.arpa")): "none.arpa",
        }.items():
            with pytest.raises(UserError, match=message) as error:
                engine.session(search=dict([search]))
            assert "\n" not in str(error.value)
        assert engine.stats().streams == 0
    assert len({result.text for result in expected}) > 6
    for i, result in enumerate(results):
        texts = [segment.text for segment in result.segments]
        assert texts == [expected[i].text] * (2 if i % 3 == 0 else 1)
    with audiorec.Engine(audiorec.load(model_dir)) as engine, pytest.raises(UserError, match="needs a beam"):
        engine.session(search={"hotwords": ["one"]})


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


def test_a_session_ends_by_itself_when_nothing_comes(recognizer, speech):
    with audiorec.Engine(recognizer, slots=1) as engine:
        idle = engine.session(16000, idle_seconds=0.2)
        idle.accept(speech[:8001])
        other = engine.session(wait=True)  # its slot is free without any call
        other.accept(speech[:16000])
        assert other.finish().segments == recognizer.transcribe(speech[:16000]).segments
        alone = recognizer.transcribe(speech[:8001], 16000)
        assert idle.partial().segments == idle.finish().segments == alone.segments
        with pytest.raises(UserError, match=r"stream: got no samples for 0\.2 s, so the engine finished it and cannot"):
            idle.accept(speech)


def test_limits_in_bytes_count_what_is_given(recognizer, speech):
    with audiorec.Engine(recognizer, slots=1) as engine:
        session, data = engine.session(bytes=20000), np.round(speech[:16000] * 32767).astype("<i2")
        session.accept(data[:9000].tobytes())
        with pytest.raises(UserError, match="longer than the bytes"):
            session.accept(data[9000:])
        session.accept(data[9000:10000])
        assert session.finish().segments == recognizer.transcribe(data[:10000]).segments


def test_a_batch_waits_for_the_others_as_long_as_it_may(recognizer, speech):
    def feed(session, seed):
        for start in range(0, 24000, 800):
            time.sleep(0.01 + 0.01 * random.Random(seed + start).random())  # longer than a step, shorter than the wait
            session.accept(speech[start : start + 800])
        return session.finish().segments

    fill = {}
    for wait_ms in (0, 100):
        with audiorec.Engine(recognizer, slots=4, wait_ms=wait_ms) as engine:
            sessions = [engine.session() for _ in range(4)]
            results = in_threads([lambda i=i, s=s: feed(s, i) for i, s in enumerate(sessions)])
            fill[wait_ms] = engine.stats().batch_fill
        assert results == [recognizer.transcribe(speech[:24000]).segments] * 4
    assert fill[100] > fill[0]


def test_asyncio_reads_results_while_samples_come(recognizer, speech):
    async def client(engine, start):
        session, seen = engine.session(), []

        async def read():
            async for result in session:
                seen.append(result)

        reader = asyncio.create_task(read())
        for at in range(start, start + 24000, 1600):
            await session.accept_async(speech[at : at + 1600])
        assert await session.flush_async("soft")
        last = await session.finish_async()
        await asyncio.wait_for(reader, 20)
        return seen, last

    async def clients():
        with audiorec.Engine(recognizer, slots=3) as engine:
            return await asyncio.gather(*(client(engine, i * 24000) for i in range(3)))

    for i, (seen, last) in enumerate(asyncio.run(clients())):
        assert seen[-1] is last and last.text == recognizer.transcribe(speech[i * 24000 :][:24000]).text
        texts = [result.text for result in seen]
        assert len(texts) > 2 and all(b.startswith(a) for a, b in pairwise(texts))


def test_asyncio_ends_when_a_session_is_cancelled_or_idle(recognizer, speech):
    async def read(session):
        return [result async for result in session]

    async def both():
        with audiorec.Engine(recognizer, slots=2) as engine:
            idle, cancelled = engine.session(idle_seconds=0.2), engine.session()
            readers = [asyncio.create_task(read(one)) for one in (idle, cancelled)]
            for one in (idle, cancelled):
                await one.accept_async(speech[:8000])
            cancelled.cancel()
            return await asyncio.wait_for(asyncio.gather(*readers), 20)

    of_idle, _ = asyncio.run(both())
    assert of_idle[-1].segments == recognizer.transcribe(speech[:8000]).segments


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_of_the_model_is_told_to_every_session(model_dir, speech, monkeypatch):
    engine = audiorec.Engine(audiorec.load(model_dir), slots=2)
    sessions = [engine.session() for _ in range(2)]
    monkeypatch.setattr(engine._runner, "begin", lambda samples, rows, own: 1 / 0)
    sessions[0].accept(speech[:8000])
    for session in sessions:
        with pytest.raises(UserError, match="engine: stopped by an error: ZeroDivisionError"):
            session.finish()
    engine.close()


def test_each_stream_may_have_rules_of_its_own_for_the_ends_of_segments(speech):
    rules = {"silence": 2, "silence_after_words": 0.08, "quiet_db": 12}
    without, samples = build("ctc", speech), speech[:80000]
    with torch.no_grad():
        without.model.head().linear.bias[0] += 30  # frames without tokens
    with_rules = audiorec.Recognizer(without.model, without.tokenizer, endpoint=EndpointConfig(**rules))
    expected = with_rules.transcribe(samples).segments, without.transcribe(samples).segments
    assert len(expected[0]) > 2 and len(expected[1]) == 1
    with audiorec.Engine(with_rules, slots=4) as engine:
        sessions = [engine.session(endpoint=one) for one in (ENDPOINT, rules, EndpointConfig(**rules), None)]
        for session in sessions:
            session.accept(samples)
        assert [len(session.finish().segments) for session in sessions] == [*[len(expected[0])] * 3, 1]
        with pytest.raises(ConfigError, match=r"endpoint\.silence"):
            engine.session(endpoint={"silence": -1})
        assert engine.stats().streams == 0
    stream = without.stream(endpoint=rules)
    stream.accept(samples)
    assert [s.text for s in stream.finish().segments] == [s.text for s in expected[0]]


def test_a_head_without_segments_refuses_rules(speech):
    recognizer = build("classify", speech)
    recognizer.stream(endpoint=ENDPOINT)
    with pytest.raises(ConfigError, match="one segment; leave it out"):
        recognizer.stream(endpoint={"silence": 1})
