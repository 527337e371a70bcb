"""Deepgram's protocol, as its own package speaks it."""

import threading

import pytest

httpx = pytest.importorskip("httpx")
deepgram = pytest.importorskip("deepgram")
from deepgram.environment import DeepgramClientEnvironment  # noqa: E402
from websockets.exceptions import ConnectionClosed, InvalidStatus  # noqa: E402
from websockets.sync.client import connect  # noqa: E402

import audiorec  # noqa: E402
from audiorec.serving.encodings import TABLES  # noqa: E402
from tests.serving.conftest import cut  # noqa: E402


def client_of(server):
    places = DeepgramClientEnvironment(base=server.http, production=server.ws, agent=server.ws, agent_rest=server.http)
    return deepgram.DeepgramClient(api_key="none", environment=places)


def listen(server, name, pieces, **options):
    """The messages of a session, which is sent these bytes and calls of the connection."""
    options = {"model": name, "encoding": "linear16", "sample_rate": 8000, **options}
    with client_of(server).listen.v1.connect(**options) as connection:
        heard = []

        def hear():
            for message in connection:
                heard.append(message)
                if message.type == "Results" and message.from_finalize:
                    finalized.release()

        finalized = threading.Semaphore(0)
        hearing = threading.Thread(target=hear)
        hearing.start()
        for piece in pieces:
            if isinstance(piece, bytes):
                connection.send_media(piece)
            else:
                getattr(connection, f"send_{piece}")()
                assert piece != "finalize" or finalized.acquire(timeout=20)
        connection.send_close_stream()
        hearing.join(20)
        assert not hearing.is_alive()
    return heard


def finals(heard):
    results = [message for message in heard if message.type == "Results" and message.is_final]
    return [result.channel.alternatives[0] for result in results]


def test_endpointing_ends_results(server, models, clip, offline):
    for given, endpoint in ("30", {"silence_after_words": 0.03}), ("false", None):
        heard = listen(server, "ctc", cut(clip.tobytes(), 1), endpointing=given)
        said = audiorec.load(models["ctc"], endpoint=endpoint).transcribe(clip, 8000)
        texts = [alternative.transcript for alternative in finals(heard) if alternative.transcript]
        assert texts == [segment.text for segment in said.segments]
        assert len(texts) != len(offline["ctc"].segments)
    with pytest.raises(InvalidStatus) as refused:
        connect(server.ws + "/v1/listen?encoding=linear16&sample_rate=8000&endpointing=soon")
    assert refused.value.response.status_code == 400


@pytest.mark.parametrize("seed", [0, 1])
def test_words_are_those_offline(server, model, clip, offline, seed):
    options = {"interim_results": "true", "vad_events": "true", "utterance_end_ms": "1000", "keyterm": ["one", "xylo"]}
    heard = listen(server, model, ["keep_alive", *cut(clip.tobytes(), seed)], **options)
    texts = [alternative.transcript for alternative in finals(heard)]
    assert [text for text in texts if text] == [segment.text for segment in offline[model].segments]
    words = [word for alternative in finals(heard) for word in alternative.words]
    assert [(w.word, w.start, w.end) for w in words] == [(w.text, w.start, w.end) for w in offline[model].words]
    assert all(0 < word.confidence <= 1 and word.punctuated_word == word.word for word in words)
    *others, metadata = heard
    assert metadata.type == "Metadata" and metadata.duration == 9.0 and metadata.request_id
    kinds = {message.type for message in others}
    assert kinds == {"Results", "SpeechStarted", "UtteranceEnd"}
    # Finals tile the audio.
    ends = [(m.start, m.start + m.duration) for m in others if m.type == "Results" and m.is_final]
    assert ends[0][0] == 0.0 and ends[-1][1] == pytest.approx(9.0)
    assert all(a[1] == pytest.approx(b[0]) for a, b in zip(ends, ends[1:], strict=False))  # noqa: RUF007


def test_finalize_loses_and_doubles_no_word(server, model, clip, recognizers):
    cuts = clip[:9001], clip[9001:30000], clip[30000:60000], clip[60000:]  # in the middle of words
    here = recognizers[model].stream(8000)
    expected = []
    for part in cuts:
        here.accept(part)
        here.flush("carry")
    expected = here.finish()
    pieces = [step for part in cuts for step in (*cut(part.tobytes()[:-1], 3), part.tobytes()[-1:], "finalize")]
    heard = listen(server, model, pieces)
    assert [a.transcript for a in finals(heard) if a.transcript] == [s.text for s in expected.segments]
    assert sum(bool(message.type == "Results" and message.from_finalize) for message in heard) == len(cuts)
    assert not [m for m in heard if m.type == "Results" and not m.is_final]  # interim_results was not asked


@pytest.mark.parametrize("code", TABLES)
def test_telephone_codes(server, clip, recognizers, code):
    audioop = pytest.importorskip("audioop")
    encode = {"mulaw": audioop.lin2ulaw, "alaw": audioop.lin2alaw}[code](clip.tobytes(), 2)
    decoded = {"mulaw": audioop.ulaw2lin, "alaw": audioop.alaw2lin}[code](encode, 2)
    import numpy as np

    expected = recognizers["ctc"].transcribe(np.frombuffer(decoded, "<i2"), 8000)
    heard = listen(server, "ctc", cut(encode, 4), encoding=code)
    assert " ".join(a.transcript for a in finals(heard) if a.transcript) == expected.text


@pytest.mark.parametrize(
    "options, status, message",
    [
        ({"model": "nova-3"}, 404, "choose from"),
        ({"encoding": "opus"}, 400, "linear16"),
        ({"sample_rate": "fast"}, 400, "hertz"),
        ({"sample_rate": 10}, 400, "sample_rate"),
        ({"channels": 2}, 400, "one channel"),
    ],
)
def test_bad_options_are_refused_at_the_handshake(server, options, status, message):
    with pytest.raises(InvalidStatus, match=str(status)):
        listen(server, "ctc", [], **options)
    query = {"model": "ctc", "encoding": "linear16", "sample_rate": 8000, **options}
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    answer = httpx.get(server.http + "/v1/listen", params=query, headers=headers)
    assert answer.status_code == status and message in answer.json()["err_msg"] and answer.json()["request_id"]


@pytest.mark.parametrize("message", ["{", '{"type": "Stop"}', "[]"])
def test_bad_messages_are_an_error_and_a_close(server, message):
    with connect(server.ws + "/v1/listen?encoding=linear16&sample_rate=8000") as socket:
        socket.send(message)
        assert '"type": "Error"' in socket.recv(10)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(10)
        assert closed.value.rcvd.code == 1007
