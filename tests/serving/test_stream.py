"""Our own protocol and its client: the words of a stream over the network are those of the recording offline."""

import asyncio
import json
import threading
import time
from itertools import pairwise

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import audiorec
from audiorec.errors import UserError
from tests.serving.conftest import cut


def talk(server, config, messages, path="/v1/stream", pause=0.0):
    """Events that a plain client gets for these messages, then the close code."""
    with connect(server.ws + path, compression=None) as socket:
        events = []
        try:
            for message in ([] if config is None else [json.dumps({"type": "config", **config})]) + messages:
                socket.send(message)
                time.sleep(pause)
            while True:
                events.append(json.loads(socket.recv(20)))
        except ConnectionClosed as closed:
            return events, closed.rcvd and closed.rcvd.code


@pytest.mark.parametrize("seed", [0, 1])
def test_plain_messages(server, model, clip, offline, seed):
    config = {"model": model, "sample_rate": 8000}
    events, code = talk(server, config, [*cut(clip.tobytes(), seed), '{"type": "finish"}'], pause=seed * 0.01)
    assert code == 1000
    ready, *middle, end = events
    assert ready.items() >= {"type": "ready", "model": model, "sample_rate": 8000}.items()
    assert end == {"type": "end", "seconds": len(clip) / 8000, "segments": len(offline[model].segments)}
    finals = [event for event in middle if event["type"] == "final"]
    assert [event["text"] for event in finals] == [segment.text for segment in offline[model].segments]
    for event, segment in zip(finals, offline[model].segments, strict=True):
        assert [(w["text"], w["start"], w["end"]) for w in event["words"]] == [
            (w.text, w.start, w.end) for w in segment.words
        ]
        assert all(0 < word["confidence"] <= 1 for word in event["words"])
    # What is settled stays: a greedy search changes nothing that it has shown.
    shown = ""
    for event in middle:
        if event["type"] == "partial":
            assert event["text"].startswith(shown) and event["settled"] == len(event["text"])
            shown = event["text"]
        else:
            assert event["text"].startswith(shown)
            shown = ""
    assert not seed or any(event["type"] == "partial" for event in middle)


def test_the_client_is_as_a_stream_here(server, model, clip, offline, recognizers):
    client = audiorec.Client(server.http, model)
    with client.stream(8000) as stream:
        ended = []
        for piece in cut(clip, 2):
            ended += stream.accept(piece)
            stream.partial()
    result = stream.partial()
    assert [s.words for s in result.segments] == [s.words for s in offline[model].segments]
    assert ended == result.segments[: len(ended)]
    assert client.transcribe(clip, 8000).words == result.words
    at = np.arange(len(clip) * 2) / 2
    wide = np.interp(at, np.arange(len(clip)), clip / 32768).astype(np.float32)
    assert client.transcribe((16000, wide)).words == recognizers[model].transcribe((16000, wide)).words


@pytest.mark.parametrize("boundary", ["soft", "carry", "reset"])
def test_boundaries(server, model, clip, recognizers, boundary):
    here = recognizers[model].stream(8000)
    with audiorec.Client(server.ws, model).stream(8000, encoding="int16") as there:
        for piece in (clip[:9000], clip[9000:31000], clip[31000:]):
            for stream in (here, there):
                stream.accept(piece)
            flushed = [stream.flush(boundary) for stream in (here, there)]
            assert there.partial().words == here.partial().words
            assert boundary == "soft" or not there.partial().segments[len(here.partial().segments) :]
        assert flushed[0] and flushed[1]
    assert [s.words for s in there.partial().segments] == [s.words for s in here.finish().segments]


def test_asyncio(server, model, clip, offline):
    async def one(seed):
        async with audiorec.Client(server.ws, model).stream_async(8000) as stream:

            async def send():
                for piece in cut(clip, seed):
                    await stream.accept(piece)
                await stream.end()

            sending = asyncio.create_task(send())
            events = [event async for event in stream]
            await sending
        assert events[-1]["type"] == "end"
        return stream.partial()

    async def all_of_them():
        return await asyncio.gather(*map(one, range(4)))

    for result in asyncio.run(all_of_them()):
        assert result.words == offline[model].words


def test_one_text_without_segments(server, clip, offline):
    config = {"model": "ctc", "sample_rate": 8000, "segments": False, "partials": False}
    events, _ = talk(server, config, [clip.tobytes(), '{"type": "finish"}'])
    assert [event["type"] for event in events] == ["ready", "end"]
    assert events[1]["text"] == offline["ctc"].text and len(events[1]["words"]) == len(offline["ctc"].words)
    events, _ = talk(server, {**config, "partials": True}, [*cut(clip.tobytes(), 3), '{"type": "finish"}'])
    texts = [event["text"] for event in events[1:]]
    assert all(b.startswith(a) for a, b in pairwise(texts)) and texts[-1] == offline["ctc"].text


NAN = np.array([0, np.nan], "<f4").tobytes()
BAD = {
    "audio first": (None, [b"\0\0"], "bad_request", 1007),
    "no JSON": (None, ["{"], "bad_request", 1007),
    "deep JSON": (None, ["[" * 100_000], "bad_request", 1007),
    "no object": (None, ["[1]"], "bad_request", 1007),
    "no type": (None, ["{}"], "bad_request", 1007),
    "a type that is none": (None, ['{"type": []}'], "bad_request", 1007),
    "another type": (None, ['{"type": "konfig"}'], "bad_request", 1007),
    "finish first": (None, ['{"type": "finish"}'], "bad_request", 1007),
    "unknown key": ({"sample_rat": 8000}, [], "bad_request", 1007),
    "another model": ({"model": "../ctc"}, [], "unknown_model", 1008),
    "no rate": ({"sample_rate": 0}, [], "bad_request", 1007),
    "a rate of words": ({"sample_rate": "fast"}, [], "bad_request", 1007),
    "a rate beyond": ({"sample_rate": 10**30}, [], "bad_request", 1007),
    "another encoding": ({"encoding": "mp3"}, [], "bad_request", 1007),
    "a language model": ({"search": {"lm": "secret.arpa"}}, [], "bad_request", 1007),
    "a file of hotwords": ({"search": {"hotwords": "/secret/file"}}, [], "bad_request", 1007),
    "hotwords without a beam": ({"search": {"hotwords": ["one"]}}, [], "bad_request", 1007),
    "config twice": ({}, ['{"type": "config"}'], "bad_request", 1007),
    "another boundary": ({}, ['{"type": "flush", "boundary": "hard"}'], "bad_request", 1007),
    "not a number": ({"encoding": "float32"}, [NAN], "bad_audio", 1007),
    "half a character": (None, [("cut", b'{"type": "\xc3')], None, 1007),
    "a huge message": ({}, [bytes(2**24 + 1)], None, 1009),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_error(server, name):
    config, messages, code, close = BAD[name]
    if isinstance(messages and messages[0], tuple):
        with connect(server.ws + "/v1/stream") as socket:
            socket.send(messages[0][1], text=True)
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(20)
            assert closed.value.rcvd.code == close
        return
    events, closed = talk(server, config, messages)
    assert closed == close or (close == 1009 and closed is None)  # the rest of a huge message may undo the close
    errors = [event for event in events if event["type"] == "error"]
    if code is not None:
        (error,) = errors
        assert error == events[-1] and error["code"] == code and error["message"] and "\n" not in error["message"]
    if name == "unknown key":
        assert "sample_rat" in error["message"]


def test_a_full_server_says_so(server, model, clip, offline):
    client = audiorec.Client(server.ws, model)
    streams = [client.stream(8000) for _ in range(8)]
    with pytest.raises(UserError, match=r"all 8 streams of .* are taken"):
        client.stream(8000)
    streams[0]._socket.close()  # leaves mid-word
    for stream in streams[1:]:
        stream.accept(clip)
    assert all(stream.finish().words == offline[model].words for stream in streams[1:])
    with client.stream(8000) as stream:
        stream.accept(clip)
    assert stream.partial().words == offline[model].words


def test_errors_of_the_client_are_lines(server):
    with pytest.raises(UserError, match="choose from ctc, rnnt"):
        audiorec.Client(server.ws, "another").stream(8000)
    with pytest.raises(UserError, match="no address"):
        audiorec.Client("localhost:80")
    with pytest.raises(UserError, match="refused with 404: there is nothing at"):
        audiorec.Client(server.ws + "/elsewhere").stream(8000)
    with pytest.raises(UserError, match=r"ws://127\.0\.0\.1:1/"):
        audiorec.Client("ws://127.0.0.1:1").stream(8000)


def test_many_threads_at_once(server, clip, offline):
    results = {}

    def one(i):
        model = ("ctc", "rnnt")[i % 2]
        with audiorec.Client(server.ws, model).stream(8000) as stream:
            for piece in cut(clip, i):
                stream.accept(piece)
        results[i] = stream.partial().words == offline[model].words

    threads = [threading.Thread(target=one, args=(i,)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == dict.fromkeys(range(12), True)
