"""Clients of vosk-server and of sherpa-onnx: their public examples' messages, in their order."""

import asyncio
import json

import numpy as np
import pytest

websockets = pytest.importorskip("websockets")
from websockets.exceptions import ConnectionClosed  # noqa: E402
from websockets.sync.client import connect  # noqa: E402

from tests.serving.conftest import cut  # noqa: E402


def vosk(address, config, pieces, end='{"eof" : 1}'):
    """As vosk-server's test.py does it: an answer is awaited after each piece."""

    async def run():
        async with websockets.connect(address) as socket:
            await socket.send(json.dumps({"config": config}))
            answers = []
            for piece in [*pieces, end]:
                await socket.send(piece)
                answers.append(json.loads(await asyncio.wait_for(socket.recv(), 20)))
            return answers

    return asyncio.run(run())


@pytest.mark.parametrize("path", ["/vosk?model=", "/?model="])
def test_vosk(server, model, clip, offline, path):
    answers = vosk(server.ws + path + model, {"sample_rate": 8000}, cut(clip.tobytes(), 5))
    results = [answer for answer in answers if "text" in answer]
    assert " ".join(answer["text"] for answer in results if answer["text"]) == offline[model].text
    words = [word for answer in results for word in answer.get("result", [])]
    assert [(w["word"], w["start"], w["end"]) for w in words] == [
        (w.text, w.start, w.end) for w in offline[model].words
    ]
    assert all(0 < word["conf"] <= 1 for word in words)
    # Lock-step: every answer knows what was sent before it, so words come before the end of the audio.
    assert any(answer.get("partial") for answer in answers) and "text" not in answers[0]


def test_vosk_resets(server, clip, recognizers):
    first, second = clip[:20000], clip[44000:]
    config = {"sample_rate": 8000, "phrase_list": ["one two", "[unk]", "xylophone"], "model": "rnnt"}
    answers = vosk(server.ws + "/vosk", config, [first.tobytes(), '{"reset" : 1}', second.tobytes()])
    texts = [" ".join(a.get("text", "") for a in part).strip() for part in (answers[:2], answers[2:])]
    assert texts == [recognizers["rnnt"].transcribe(part, 8000).text for part in (first, second)]


def test_vosk_alternatives_and_no_audio(server, clip):
    config = {"sample_rate": 8000.0, "max_alternatives": 3, "words": False, "something": "else"}
    answers = vosk(server.ws + "/vosk", config, [clip[:16000].tobytes()])
    assert answers[-1]["alternatives"][0]["text"] and "result" not in answers[-1]["alternatives"][0]
    assert vosk(server.ws + "/vosk", {}, []) == [{"text": ""}]


def sherpa(address, samples, size):
    """As sherpa-onnx's online-websocket-client-decode-file.py does it."""

    async def hear(socket):
        events = []
        async for message in socket:
            if message == "Done!":
                return events
            events.append(json.loads(message))
        raise AssertionError("it did not say Done!")

    async def run():
        async with websockets.connect(address) as socket:
            hearing = asyncio.create_task(hear(socket))
            for start in range(0, len(samples), size):
                await socket.send(samples[start : start + size].tobytes())
                await asyncio.sleep(0.001)
            await socket.send("Done")
            return await asyncio.wait_for(hearing, 20)

    return asyncio.run(run())


@pytest.mark.parametrize("path", ["/sherpa-onnx?model=", "/?model="])
def test_sherpa(server, model, clip, offline, path):
    events = sherpa(server.ws + path + model, clip.astype("<f4") / 32768, 777)
    finals = [event for event in events if event["is_final"]]
    segments = offline[model].segments
    assert [event["text"] for event in finals if event["text"]] == [segment.text for segment in segments]
    for event, segment in zip(finals, segments, strict=False):
        assert event["tokens"] == [token.text for token in segment.tokens]
        times = [event["start_time"] + time for time in event["timestamps"]]
        assert np.allclose(times, [token.start for token in segment.tokens])
    assert [event["is_eof"] for event in events] == [False] * (len(events) - 1) + [True]
    assert [event["segment"] for event in finals] == list(range(len(finals)))


BAD = {
    "no JSON": ("/vosk", ["{"], 1007),
    "config of another type": ("/vosk", ['{"config": 8000}'], 1007),
    "a rate that is none": ("/vosk", ['{"config": {"sample_rate": "fast"}}'], 1007),
    "a rate beyond": ("/vosk", ['{"config": {"sample_rate": 1}}', b"\0\0"], 1007),
    "phrases that are a file": ("/vosk", ['{"config": {"phrase_list": "/secret/file"}}'], 1007),
    "something else": ("/vosk", ['{"stop": 1}'], 1007),
    "another model": ("/vosk?model=none", [b"\0\0"], 1008),
    "NaN": ("/sherpa-onnx", [np.array([np.nan], "<f4").tobytes()], 1007),
    "another text": ("/sherpa-onnx", ["done"], 1007),
    "a rate of letters": ("/sherpa-onnx?sample_rate=x", [b"\0\0"], 1007),
    "at the root": ("/", ["hello"], 1007),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_closes_with_the_reason(server, name):
    path, messages, code = BAD[name]
    with connect(server.ws + path) as socket, pytest.raises(ConnectionClosed) as closed:
        for message in messages:
            socket.send(message)
        while True:
            socket.recv(20)
    assert closed.value.rcvd.code == code and closed.value.rcvd.reason
