"""Sessions that transcribe, as the openai package's realtime client speaks them."""

import base64
import json

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

import audiorec
from tests.serving.conftest import cut

openai = pytest.importorskip("openai")
KIND = "conversation.item.input_audio_transcription."


def session_of(model, turns, rate=8000, **more):
    audio = {"format": {"type": "audio/pcm", "rate": rate}, "transcription": {"model": model}, "turn_detection": turns}
    return {"type": "transcription", "audio": {"input": audio}, **more}


def connected(server):
    client = openai.OpenAI(base_url=server.http + "/v1", api_key="none")
    return client.realtime.connect(extra_query={"intent": "transcription"}, max_retries=0)


def append(connection, data):
    connection.input_audio_buffer.append(audio=base64.b64encode(data).decode())


def until(connection, kind):
    events = []
    while not events or events[-1].type != kind:
        events.append(connection.recv())
    return events


def check_items(events):
    """Deltas of an item, joined, are its transcript, and only append; the completed transcripts."""
    said, texts, previous = {}, [], None
    for event in events:
        assert event.type == "error" or event.event_id
        if event.type == KIND + "delta":
            said[event.item_id] = said.get(event.item_id, "") + event.delta
        elif event.type == "input_audio_buffer.committed":
            assert event.previous_item_id == previous
            previous = event.item_id
        elif event.type == KIND + "completed":
            assert event.item_id == previous and said.get(previous, "") == event.transcript
            assert event.usage.type == "duration" and event.usage.seconds >= 0
            texts.append(event.transcript)
    return texts


@pytest.mark.parametrize("waits", [True, False])
def test_items_by_commit(server, model, clip, recognizers, waits):
    cuts = clip[:9001], clip[9001:30000], clip[30000:60000], clip[60000:]  # in the middle of words
    here, expected = recognizers[model].stream(8000), []
    for part in cuts:
        ended = here.accept(part)
        ended += here.flush("carry")
        expected.append(" ".join(segment.text for segment in ended))
    with connected(server) as connection:
        if waits:
            assert connection.recv().type == "session.created"
        connection.session.update(session=session_of(model, None))
        events = until(connection, "session.updated")
        assert events[-1].session.audio.input.turn_detection is None
        for part in cuts:
            for piece in cut(part.tobytes()[:-1], 2):
                append(connection, piece)
            append(connection, part.tobytes()[-1:])
            connection.input_audio_buffer.commit()
            events += until(connection, KIND + "completed")
    assert [event.type for event in events[:2]] == ["session.created", "session.updated"] or waits
    assert check_items(events) == expected


def test_items_by_turns(server, model, clip, offline):
    with connected(server) as connection:
        include = ["item.input_audio_transcription.logprobs"]
        connection.session.update(session=session_of(model, {"type": "server_vad"}, include=include))
        for piece in cut(clip.tobytes(), 3):
            append(connection, piece)
        append(connection, bytes(2 * 8000 * 3))  # silence ends the last segment
        events = []
        for _ in offline[model].segments:
            events += until(connection, KIND + "completed")
    assert check_items(events)[0] == offline[model].segments[0].text
    kinds = [event.type.rpartition(".")[2] for event in events if event.type != KIND + "delta"]
    turn = ["speech_started", "speech_stopped", "committed", "completed"]
    assert kinds == ["created", "updated", *turn * len(offline[model].segments)]
    start = next(event for event in events if event.type.endswith("started"))
    assert start.audio_start_ms == round(offline[model].words[0].start * 1000)
    completed = events[-1]
    assert completed.logprobs and all(one.logprob <= 0 for one in completed.logprobs)


def test_silence_that_ends_a_turn(server, models, clip):
    audio = np.concatenate([clip, np.zeros(8000 * 3, np.int16)])
    said = audiorec.load(models["ctc"], endpoint={"silence_after_words": 0.03}).transcribe(audio, 8000)
    with connected(server) as connection:
        turns = {"type": "server_vad", "silence_duration_ms": 30}
        connection.session.update(session=session_of("ctc", turns))
        for piece in cut(audio.tobytes(), 3):
            append(connection, piece)
        events = []
        for _ in said.segments:
            events += until(connection, KIND + "completed")
        connection.session.update(session=session_of("ctc", {**turns, "silence_duration_ms": 300}))
        assert "cannot change after audio" in until(connection, "error")[-1].error.message
    assert check_items(events) == [segment.text for segment in said.segments] and len(said.segments) > 2


@pytest.mark.parametrize("dialect", ["", "?dialect=beta"])
def test_the_beta(server, model, clip, recognizers, dialect):
    urls = {"base_url": server.http + "/v1", "websocket_base_url": server.ws + "/v1"}
    client = openai.OpenAI(**urls, api_key="none")
    made = client.beta.realtime.transcription_sessions.create()
    assert made.input_audio_format == "pcm16" and made.id.startswith("sess_")
    wide = np.repeat(clip[:24000], 3)  # 24 kHz
    here = recognizers[model].stream(24000)
    ended = here.accept(wide) + here.flush("carry")
    query = {"intent": "transcription", **({"dialect": "beta"} if dialect else {})}
    with client.beta.realtime.connect(model=model, extra_query=query) as connection:
        assert connection.recv().type == "session.created"
        session = {"input_audio_format": "pcm16", "input_audio_transcription": {"model": model}, "turn_detection": None}
        connection.transcription_session.update(session=session)
        updated = connection.recv()
        assert updated.type == "transcription_session.updated" and updated.session.turn_detection is None
        for piece in cut(wide.astype("<i2").tobytes(), 4):
            append(connection, piece)
        connection.input_audio_buffer.commit()
        events = until(connection, KIND + "completed")
    assert check_items(events) == [" ".join(segment.text for segment in ended)] != [""]


@pytest.mark.parametrize("dialect", ["", "?dialect=vllm"])
def test_vllm(server, model, clip, recognizers, dialect):
    """As vLLM's own example sends it: choose the model, commit, audio of 16 kHz, a final commit."""
    wide = np.repeat(clip, 2)
    with connect(server.ws + "/v1/realtime" + dialect) as socket:
        assert json.loads(socket.recv())["type"] == "session.created"
        socket.send(json.dumps({"type": "session.update", "model": model}))
        for part in (wide[:50000], wide[50000:]):
            socket.send('{"type": "input_audio_buffer.commit"}')
            for piece in cut(part.astype("<i2").tobytes(), 4):
                audio = base64.b64encode(piece).decode()
                socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
            socket.send('{"type": "input_audio_buffer.commit", "final": true}')
            deltas, event = "", {"type": ""}
            while event["type"] != "transcription.done":
                event = json.loads(socket.recv(20))
                deltas += event.get("delta", "")
            assert event["text"] == deltas == recognizers[model].transcribe(part, 16000).text != ""
            assert event["usage"]["total_tokens"] > 0
        socket.send('{"type": "session.update", "model": "none"}')
        assert json.loads(socket.recv(20)).items() >= {"type": "error", "code": "unknown_model"}.items()


def test_dialects_are_chosen_or_refused(server):
    with connect(server.ws + "/v1/realtime?dialect=nim") as socket:
        assert json.loads(socket.recv())["type"] == "conversation.created"
        socket.send('{"type": "transcription_session.update", "session": {"input_audio_format": "mp3"}}')
        assert "choose from pcm16" in json.loads(socket.recv())["error"]["message"]
    with pytest.raises(InvalidStatus) as refused:
        connect(server.ws + "/v1/realtime?dialect=klingon")
    assert refused.value.response.status_code == 400


def test_clear_forgets_what_was_not_committed(server, model, clip, recognizers):
    with connected(server) as connection:
        connection.session.update(session=session_of(model, None))
        append(connection, clip[:20000].tobytes())
        connection.input_audio_buffer.clear()
        events = until(connection, "input_audio_buffer.cleared")
        append(connection, clip[40000:].tobytes())
        connection.input_audio_buffer.commit()
        events = until(connection, KIND + "completed")
    here = recognizers[model].stream(8000)
    ended = here.accept(clip[40000:]) + here.flush("carry")
    assert check_items(events) == [" ".join(segment.text for segment in ended)]


def test_the_rate_of_openai(server, clip, recognizers):
    at = np.arange(len(clip) * 3) / 3
    wide = np.rint(np.interp(at, np.arange(len(clip)), clip)).astype("<i2")[:60000]
    here = recognizers["ctc"].stream(24000)
    ended = here.accept(wide) + here.flush("carry")
    with connected(server) as connection:
        assert connection.recv().session.audio.input.format.rate == 24000
        session = {"type": "transcription", "audio": {"input": {"turn_detection": None}}}
        connection.session.update(session=session)  # the default format and model
        append(connection, wide.tobytes())
        connection.input_audio_buffer.commit()
        assert check_items(until(connection, KIND + "completed")) == [" ".join(s.text for s in ended)]


BAD = {
    "no JSON": "{",
    "no object": "5",
    "no type": "{}",
    "another type": '{"type": "response.create"}',
    "no session": '{"type": "session.update"}',
    "another session": '{"type": "session.update", "session": {"type": "realtime"}}',
    "another format": '{"type": "session.update", "session": {"audio": {"input": {"format": {"type": "audio/mp3"}}}}}',
    "another model": '{"type": "session.update", "session": {"audio": {"input": {"transcription": {"model": "x"}}}}}',
    "audio that is null": '{"type": "session.update", "session": {"audio": null}}',
    "keywords of a file": (
        '{"type": "session.update", "session": {"audio": {"input": {"transcription": {"keywords": "/secret"}}}}}'
    ),
    "no base64": '{"type": "input_audio_buffer.append", "audio": "?"}',
    "no audio": '{"type": "input_audio_buffer.append"}',
    "nothing to commit": '{"type": "input_audio_buffer.commit"}',
}


def test_errors_are_told_and_the_session_goes_on(server, clip):
    with connect(server.ws + "/v1/realtime?intent=transcription") as socket:
        assert json.loads(socket.recv(10))["type"] == "session.created"
        for name, message in BAD.items():
            socket.send(message.replace('"type"', '"event_id": "mine", "type"', 1))
            event = json.loads(socket.recv(10))
            assert event["type"] == "error" and event["error"]["type"] == "invalid_request_error", name
            assert event["error"]["message"] and (name in ("no JSON", "no object", "no type")) != (
                event["error"]["event_id"] == "mine"
            )
        socket.send(b"\0\0")
        assert json.loads(socket.recv(10))["type"] == "error"
        audio = base64.b64encode(clip[:9000].tobytes()).decode()
        socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
        socket.send('{"type": "input_audio_buffer.commit"}')
        while json.loads(socket.recv(10))["type"] != KIND + "completed":
            continue
        with pytest.raises(
            ConnectionClosed
        ) as closed:  # by a send or a receive: the server may close before the last one
            for _ in range(20):
                socket.send("{")
            while True:
                socket.recv(10)
        assert closed.value.rcvd.code == 1007
    with pytest.raises(InvalidStatus, match="404"):
        connect(server.ws + "/v1/realtime?model=gpt-realtime")
