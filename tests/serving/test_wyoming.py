"""Wyoming, as its own package and Home Assistant speak it."""

import asyncio
import json
import socket

import pytest

from tests.serving.conftest import cut

wyoming = pytest.importorskip("wyoming")
from wyoming.asr import Transcribe, Transcript  # noqa: E402
from wyoming.audio import AudioChunk, AudioStart, AudioStop  # noqa: E402
from wyoming.client import AsyncTcpClient  # noqa: E402
from wyoming.info import Describe, Info  # noqa: E402


def speak(server, *conversation, close_after="transcript-stop"):
    """The events that come for these, until that one or the end."""

    async def run():
        async with AsyncTcpClient("127.0.0.1", server.wyoming) as client:
            for one in conversation:
                await client.write_event(one.event())
            events = []
            while not events or events[-1].type != close_after:
                event = await asyncio.wait_for(client.read_event(), 20)
                if event is None:
                    break
                events.append(event)
            return events

    return asyncio.run(run())


def recording(data, seed=0, rate=8000):
    chunks = [AudioChunk(rate, 2, 1, piece) for piece in cut(data, seed)]
    return [AudioStart(rate, 2, 1), *chunks, AudioStop()]


def test_info(server):
    (event,) = speak(server, Describe(), close_after="info")
    (program,) = Info.from_event(event).asr
    assert [model.name for model in program.models] == ["ctc", "rnnt"] and program.models[0].languages == ["en"]
    assert program.installed and program.supports_transcript_streaming


def test_words_are_those_offline(server, model, clip, offline):
    events = speak(server, Transcribe(name=model, language="en"), *recording(clip.tobytes(), 6))
    kinds = [event.type for event in events]
    chunks = kinds.count("transcript-chunk")
    assert kinds == ["transcript-start", *["transcript-chunk"] * chunks, "transcript", "transcript-stop"] and chunks
    transcript = Transcript.from_event(events[-2])
    assert transcript.text == offline[model].text and transcript.language == "en"
    assert "".join(event.data["text"] for event in events[1:-2]) == transcript.text


def test_several_recordings_on_a_connection(server, clip, recognizers):
    async def run():
        texts = []
        async with AsyncTcpClient("127.0.0.1", server.wyoming) as client:
            for start, end in ((0, 20000), (44000, 60000), (0, 0)):
                for one in (Transcribe(), *recording(clip[start:end].tobytes())):
                    await client.write_event(one.event())
                while (event := await asyncio.wait_for(client.read_event(), 20)).type != "transcript-stop":
                    if event.type == "transcript":
                        texts.append(event.data["text"])
        return texts

    expected = [recognizers["ctc"].transcribe(clip[a:b], 8000).text for a, b in ((0, 20000), (44000, 60000))]
    assert asyncio.run(run()) == [*expected, ""]


BAD = {
    "no JSON": (b"GET / HTTP/1.1\r\n\r\n", "bad_request"),
    "no object": (b"5\n", "bad_request"),
    "no type": (b"{}\n", "bad_request"),
    "data that is a list": (b'{"type": "describe", "data": [1]}\n', "bad_request"),
    "a length below 0": (b'{"type": "describe", "data_length": -1}\n', "bad_request"),
    "a length of words": (b'{"type": "describe", "payload_length": "9"}\n', "bad_request"),
    "a huge payload": (b'{"type": "audio-chunk", "payload_length": 99999999999}\n', "too_big"),
    "a long line": (b"[" * 70000 + b"\n", "too_big"),
    "another model": (b'{"type": "transcribe", "data": {"name": "none"}}\n', "unknown_model"),
    "a name that is none": (b'{"type": "transcribe", "data": {"name": []}}\n', "bad_request"),
    "two channels": (b'{"type": "audio-start", "data": {"rate": 8000, "width": 2, "channels": 2}}\n', "bad_request"),
    "no rate": (b'{"type": "audio-start"}\n', "bad_request"),
    "a rate below": (b'{"type": "audio-start", "data": {"rate": 1, "width": 2, "channels": 1}}\n', "bad_request"),
    "stop alone": (b'{"type": "audio-stop"}\n', "bad_request"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_error_and_the_end(server, name):
    sent, code = BAD[name]
    with socket.create_connection(("127.0.0.1", server.wyoming), 10) as raw:
        raw.sendall(sent)
        said = b""
        while piece := raw.recv(65536):
            said += piece
    head, body = said.split(b"\n", 1)
    assert json.loads(head)["type"] == "error" and json.loads(body)["code"] == code and json.loads(body)["text"]
