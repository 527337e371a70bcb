"""The server as a whole: who may come, what it counts, and how it ends."""

import base64
import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest

pytest.importorskip("httpx")
pytest.importorskip("prometheus_client")
import httpx
from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

import audiorec
from audiorec.errors import UserError
from audiorec.runtime import load
from audiorec.serving.app import _listen
from tests.runtime import handmade
from tests.serving.conftest import cut
from tests.serving.servers import Running


def test_health_and_metrics(server, clip):
    assert server.line.startswith("serving ctc, rnnt at http://127.0.0.1:")
    assert httpx.get(server.http + "/health").json()["status"] == "ok"
    audiorec.Client(server.ws, "rnnt").transcribe(clip, 8000)
    with pytest.raises(UserError):
        audiorec.Client(server.ws, "none").stream(8000)
    found = {}
    for family in text_string_to_metric_families(httpx.get(server.http + "/metrics").text):
        for sample in family.samples:
            found[(sample.name, *sample.labels.values())] = sample.value
    assert found["audiorec_slots", "rnnt"] == 8 and 0 < found["audiorec_batch_fill", "rnnt"] <= 1
    assert found["audiorec_sessions_total", "rnnt", "stream"] >= 1
    assert found["audiorec_audio_seconds_total", "rnnt"] >= 9
    assert found["audiorec_finalise_seconds_count", "rnnt"] >= 1
    assert found["audiorec_piece_to_words_seconds_count", "rnnt"] >= 1
    assert found["audiorec_refusals_total", "unknown_model"] >= 1


@pytest.mark.parametrize("kind", ["ctc", "rnnt"])
def test_an_exported_model_is_served_without_torch(tmp_path, speech, kind):
    folder = handmade.make(tmp_path / kind, kind)
    with Running(folder, "--runtime", "onnx", "--threads", 2, absent="torch") as running:
        said = audiorec.Client(running.ws).transcribe(speech[:40000], 8000)
        alone = load(folder).transcribe(speech[:40000], 8000)
        assert said.text == alone.text and said.text
    assert not [line for line in running.log() if line["event"] == "error"]


@pytest.fixture(scope="module")
def guarded(models):
    limits = "--max-seconds", 2, "--idle-seconds", 1, "--max-message", 40000, "--max-upload", 50000
    beam = "--search", "beam", "--threads", 1, "--allow-origin", "https://friend.example"
    with Running(f"secret={models['rnnt']}", *limits, *beam, AUDIOREC_TOKEN="open sesame") as running:
        yield running
        assert "sesame" not in json.dumps(running.log())
        assert not [line for line in running.log() if line["event"] == "error"]


def test_no_message_waits_for_the_acknowledgement_of_the_one_before():
    with _listen("127.0.0.1", 0, "--port") as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_token(guarded):
    for given in ({}, {"Authorization": "Bearer sesame"}, {"Authorization": "open sesame"}, {"api-key": "é"}):
        raw = {name: value.encode() for name, value in given.items()}
        for path in ("/metrics", "/v1/models"):
            answer = httpx.get(guarded.http + path, headers=raw)
            assert answer.status_code == 401 and "token" in answer.json()["error"]["message"]
        assert httpx.post(guarded.http + "/v1/audio/transcriptions", headers=raw).status_code == 401
        for path in ("/v1/stream", "/vosk", "/", "/sherpa-onnx"):
            with pytest.raises(InvalidStatus) as refused:
                connect(guarded.ws + path, additional_headers={k: v.decode("latin-1") for k, v in raw.items()})
            assert refused.value.response.status_code == 401
    good = {"Authorization": "Bearer open sesame"}
    assert httpx.get(guarded.http + "/v1/models", headers=good).json()["data"][0]["id"] == "secret"
    assert httpx.get(guarded.http + "/health").status_code == 200
    with pytest.raises(UserError, match="refused with 401: the token is wrong"):
        audiorec.Client(guarded.ws, token="no").stream(8000)
    with connect(guarded.ws + "/v1/stream?token=open%20sesame"):
        pass
    with connect(guarded.ws + "/v1/stream", additional_headers={"Authorization": "Token open sesame"}):
        pass


def test_pages_of_other_hosts_may_not_use_it(server, guarded):
    for origin, host, status in [
        ("https://evil.example", None, 403),
        ("http://evil.example", "evil.example", 403),  # a name made to lead to loopback
        ("null", None, 403),
        (server.http, None, 200),
        (server.http.replace("127.0.0.1", "localhost"), f"localhost:{server.port}", 200),
    ]:
        headers = {"Origin": origin} | ({"Host": host} if host else {})
        assert httpx.get(server.http + "/v1/models", headers=headers).status_code == status
    token = "?token=open%20sesame"
    with connect(guarded.ws + "/v1/stream" + token, origin="https://friend.example"):
        pass
    with pytest.raises(InvalidStatus) as refused:
        connect(guarded.ws + "/v1/stream" + token, origin="https://foe.example")
    assert refused.value.response.status_code == 403


def test_limits_of_a_session(guarded, clip):
    client = audiorec.Client(guarded.ws, token="open sesame")
    with pytest.raises(UserError, match=r"may have 2 s of audio"):
        client.transcribe(clip, 8000)
    stream = client.stream(8000)
    stream.accept(clip[:8000])
    with pytest.raises(UserError, match="nothing came for 1 s"):
        for _ in range(40):
            time.sleep(0.1)
            stream._hear_what_is_there()
    assert stream.partial().segments  # the words so far came before the error
    with connect(guarded.ws + "/v1/stream?token=open%20sesame") as socket, pytest.raises(ConnectionClosed) as closed:
        socket.recv(10)  # who says nothing at all
        socket.recv(10)
    assert closed.value.rcvd.code == 1008
    answer = httpx.post(
        guarded.http + "/v1/audio/transcriptions",
        files={"file": bytes(200_000)},
        headers={"Authorization": "Bearer open sesame"},
    )
    assert answer.status_code == 413 and "50000 bytes" in answer.json()["error"]["message"]


def test_hotwords_of_a_session(guarded, clip, models):
    beam = audiorec.load(models["rnnt"], search={"kind": "beam"})
    hot = audiorec.load(
        models["rnnt"], search={"kind": "beam", "hotwords": ["seven nine", "two"], "hotwords_score": 4.0}
    )
    part = clip[:15000]
    client = audiorec.Client(guarded.ws, token="open sesame")
    with client.stream(8000) as plain, client.stream(8000, ["seven nine", "two"], 4.0) as with_them:
        for piece in cut(part, 0):
            plain.accept(piece)
            with_them.accept(piece)
    assert plain.partial().text == beam.transcribe(part, 8000).text
    assert with_them.partial().text == hot.transcribe(part, 8000).text != plain.partial().text
    with pytest.raises(UserError, match="xylophone"):
        client.stream(8000, ["xylophone"])


@pytest.mark.slow
def test_tls_a_pace_segments_and_logs_with_words(models, clip, recognizers, tmp_path):
    openssl = shutil.which("openssl") or pytest.skip("no openssl here")
    made = f"{openssl} req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost"
    names = "-addext", "subjectAltName=DNS:localhost"
    subprocess.run([*made.split(), *names], cwd=tmp_path, check=True, capture_output=True)
    tls = "--certificate", tmp_path / "cert.pem", "--key", tmp_path / "key.pem", "--host", "localhost"
    more = "--log-words", "--max-rate", 8000, "--silence-after-words", 0.3
    with Running(models["ctc"], *tls, *more, SSL_CERT_FILE="") as server:
        assert server.http.startswith("https://")
        trusted = ssl.create_default_context(cafile=tmp_path / "cert.pem")
        with connect(server.ws + "/v1/stream", ssl=trusted, compression=None) as socket:
            socket.send('{"type": "config", "sample_rate": 8000, "partials": false}')
            start = time.monotonic()
            socket.send(clip[:44000].tobytes())  # 8,000 bytes too many, besides what may come at once
            socket.send('{"type": "finish"}')
            events = [json.loads(message) for message in socket]
            assert 0.9 < time.monotonic() - start < 6
        here = audiorec.load(models["ctc"], endpoint={"silence_after_words": 0.3}).transcribe(clip[:44000], 8000)
        assert [event["text"] for event in events if event["type"] == "final"] == [s.text for s in here.segments]
        said = [line["text"] for line in server.log() if line["event"] == "words"]
        assert said == [segment.text for segment in here.segments]


@pytest.mark.slow
def test_a_head_that_never_ends_is_dropped(server):
    """A byte now and then does not hold a connection; neither after a request that was good."""
    good = b"GET /health HTTP/1.1\r\nHost: here\r\n\r\n"
    for before in (b"", good):
        with socket.create_connection(("127.0.0.1", server.port)) as raw:
            raw.sendall(before)
            if before:
                while b"models" not in raw.recv(4096):
                    pass
            raw.sendall(b"GET /health HTTP/1.1\r\nX: ")
            raw.settimeout(0.5)
            start = time.monotonic()
            with contextlib.suppress(OSError):
                while time.monotonic() - start < 20:
                    raw.sendall(b"x")
                    with contextlib.suppress(TimeoutError):
                        if not raw.recv(4096):
                            break
            assert 8 < time.monotonic() - start < 15


def test_sigterm_under_load_loses_no_word(models, clip, recognizers):
    """Every session gets the final words of what it had sent, and a clear close code."""
    results = {}

    def one(i):
        with connect(server.ws + "/v1/stream", compression=None) as ws:
            config = {"type": "config", "sample_rate": 8000, "model": ("ctc", "rnnt")[i % 2]}
            ws.send(json.dumps(config))
            assert json.loads(ws.recv(20))["type"] == "ready"
            count = 10_000 + 1500 * i
            for piece in cut(clip[:count].tobytes(), i):
                ws.send(piece)
            ws.send('{"type": "flush", "boundary": "soft", "id": 7}')
            events = []
            try:
                while True:
                    events.append(json.loads(ws.recv(20)))
                    if events[-1]["type"] == "flushed":
                        flushed.release()
            except ConnectionClosed as closed:
                results[i] = (count, events, closed.rcvd.code)

    flushed = threading.Semaphore(0)
    server = Running(*models.values(), "--sessions", 6, "--threads", 1)
    threads = [threading.Thread(target=one, args=(i,)) for i in range(12)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert flushed.acquire(timeout=30)
    code, log = server.stop()
    for thread in threads:
        thread.join(20)
    assert code == 0 and "Traceback" not in log
    assert len(results) == 12
    for i, (count, events, close) in results.items():
        said = " ".join(event["text"] for event in events if event["type"] == "final")
        assert said == recognizers[("ctc", "rnnt")[i % 2]].transcribe(clip[:count], 8000).text
        assert close == 1012 and events[-1].items() >= {"type": "error", "code": "shutting_down"}.items()


def test_sigterm_in_other_protocols(models, clip, recognizers):
    part = clip[:20000]
    expected = recognizers["ctc"].transcribe(part, 8000).text
    audio = base64.b64encode(part.tobytes()).decode()
    session = {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 8000}, "turn_detection": None}}}
    sent = {
        "/v1/listen?encoding=linear16&sample_rate=8000": [part.tobytes()],
        "/vosk": ['{"config": {"sample_rate": 8000}}', part.tobytes()],
        "/sherpa-onnx": [(part / 32768).astype("<f4").tobytes()],
        "/v1/realtime": [
            json.dumps({"type": "session.update", "session": session}),
            json.dumps({"type": "input_audio_buffer.append", "audio": audio}),
        ],
    }
    server = Running(models["ctc"], "--threads", 1, "--wyoming", 0)
    sockets = {path: connect(server.ws + path, compression=None) for path in sent}
    for path, messages in sent.items():
        for message in messages:
            sockets[path].send(message)
    wyoming = socket.create_connection(("127.0.0.1", server.wyoming), 20)
    head = {"type": "audio-chunk", "data": {"rate": 8000, "width": 2, "channels": 1}, "payload_length": 2 * len(part)}
    wyoming.sendall(json.dumps(head).encode() + b"\n" + part.tobytes())
    deadline = time.monotonic() + 20
    while httpx.get(server.http + "/health").json()["models"]["ctc"]["streams"] < 5 and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1)
    code, _ = server.stop()
    assert code == 0
    for path, ws in sockets.items():
        events = []
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                events.append(ws.recv(10))
        assert closed.value.rcvd.code == 1012
        assert any(f'"{expected}"' in event for event in events), path
    said = b""
    while piece := wyoming.recv(65536):
        said += piece
    assert f'{{"text": "{expected}"}}'.encode() in said and b"shutting_down" in said
    wyoming.close()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["nowhere"], "nowhere"),
        pytest.param(["--host", "192.0.2.1", "MODEL"], "cannot listen", marks=pytest.mark.slow),
        (["MODEL", "MODEL"], "NAME=PATH"),
        (["--token", "", "MODEL"], "--token"),
        pytest.param(["--certificate", "FILE", "MODEL"], "--certificate", marks=pytest.mark.slow),
    ],
)
def test_wrong_use_is_one_line(models, tmp_path, arguments, message):
    (tmp_path / "file").write_text("no certificate")
    names = {"MODEL": str(models["ctc"]), "FILE": str(tmp_path / "file")}
    code = "from audiorec.cli import main; main()"
    command = [sys.executable, "-c", code, "serve", "--port", "0", *(names.get(a, a) for a in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    lines = done.stderr.strip().splitlines()
    assert done.returncode in (1, 2) and len(lines) == 1 and lines[0].startswith("error:") and message in lines[0]
