"""Clients that mean harm, beside others whose words must be as ever."""

import json
import os
import random
import re
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("httpx")
import httpx
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

import audiorec
from audiorec.errors import UserError
from tests.serving.conftest import cut


def misbehave(server, draw, clip):
    """One client that does harm, in one of many ways."""
    path = draw.choice(PATHS)
    kind = draw.choice(["leave", "garbage", "json", "huge", "nan", "utf8", "token", "http", "half", "silent", "flood"])
    if kind in ("http", "half", "silent"):
        with socket.create_connection(("127.0.0.1", server.port), 5) as raw:
            if kind == "http":
                raw.sendall(draw.randbytes(300))
            elif kind == "half":
                raw.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConn".encode())
        return
    headers = {"Authorization": "Bearer wrong", "Origin": "http://evil.example"} if kind == "token" else {}
    with connect(server.ws + path, additional_headers=headers, compression=None, close_timeout=2) as ws:
        if path == "/v1/stream" and kind != "garbage":
            ws.send(json.dumps({"type": "config", "sample_rate": 8000, "encoding": draw.choice(["int16", "float32"])}))
        if kind == "leave":
            for piece in cut(clip[: draw.randrange(1, 30000)].tobytes(), draw.randrange(99))[:30]:
                ws.send(piece)
            if draw.random() < 0.7:
                ws.socket.shutdown(socket.SHUT_RDWR)  # without a goodbye
        elif kind == "garbage":
            ws.send(draw.randbytes(draw.randrange(5000)))
            ws.send(draw.choice(["\0", "Done", '{"type": "flush"}', '"', '{"type": 3}']))
        elif kind == "json":
            ws.send(draw.choice(WRONG))
        elif kind == "huge":
            ws.send(bytes(2**24 + 5))
        elif kind == "nan":
            ws.send(np.full(50, np.nan, "<f4").tobytes())
        elif kind == "utf8":
            ws.send(b'{"type": "\xe2\x82', text=True)
        elif kind == "flood":
            for _ in range(20):
                ws.send(bytes(80_000))
        if draw.random() < 0.5:
            ws.recv(0.05)


PATHS = [
    *("/v1/stream", "/vosk", "/sherpa-onnx", "/", "/v1/realtime?intent=transcription"),
    "/v1/listen?encoding=linear16&sample_rate=8000",
]
WRONG = [
    '{"type": "config", "sample_rate": NaN}',
    '{"type": "config", "sample_rate": -1}',
    '{"type": "config", "search": {"hotwords": ["' + "x" * 5000 + '"]}}',
    '{"type": "config", "search": {"hotwords": "/secret"}}',
    '{"config": {"sample_rate": 1e999}}',
    '{"config": null}',
    "[" * 5000,
    "9" * 5000,
    '{"type": "flush", "boundary": []}',
    '{"type": "session.update", "session": 5}',
    '{"type": "input_audio_buffer.append", "audio": "?"}',
    '{"type": "Finalize"}',
    "null",
]


def hurt(server, clip, offline, count):
    """``count`` clients that do harm, and beside them some whose words must be as ever."""
    stop, wrong, heard = threading.Event(), [], []

    def honest(i):
        model = ("ctc", "rnnt")[i % 2]
        while not stop.is_set():
            try:
                with audiorec.Client(server.ws, model).stream(8000) as stream:
                    for piece in cut(clip, i):
                        stream.accept(piece)
                        time.sleep(0.002)
                same = stream.partial().words == offline[model].words
                (heard if same else wrong).append(i)
            except UserError as error:
                if "are taken" not in str(error):
                    wrong.append(error)
                time.sleep(0.05)

    def harmful(seed):
        draw = random.Random(seed)
        for _ in range(count // 4):
            try:
                misbehave(server, draw, clip)
            except (OSError, WebSocketException):  # so it is told
                continue

    threads = [threading.Thread(target=honest, args=(i,)) for i in range(2)]
    harm = [threading.Thread(target=harmful, args=(seed,)) for seed in range(4)]
    for thread in threads + harm:
        thread.start()
    for thread in harm:
        thread.join(60 + count / 5)
    time.sleep(0.5)
    stop.set()
    for thread in threads:
        thread.join(60)
    assert not wrong and len(heard) >= 2, (wrong, heard)
    deadline = time.monotonic() + 10
    while any(m["streams"] for m in httpx.get(server.http + "/health").json()["models"].values()):
        assert time.monotonic() < deadline, "a client has left and its stream is still open"
        time.sleep(0.1)
    assert not [line for line in server.log() if line["event"] == "error"]


def test_clients_that_mean_harm_change_nothing_for_others(server, clip, offline):
    hurt(server, clip, offline, 60)


@pytest.mark.slow
def test_many_that_mean_harm(server, clip, offline):
    """As many as the variable HARM says; the server's memory stays what it was."""
    count = int(os.environ.get("HARM", 600))
    hurt(server, clip, offline, count // 10)  # all its code has run, and all its threads are there
    before = memory(server)
    hurt(server, clip, offline, count)
    assert memory(server) < before + 30


def memory(server) -> float:
    """MB that the server's process holds."""
    status = Path(f"/proc/{server.process.pid}/status")
    return int(re.search(r"VmRSS:\s+(\d+)", status.read_text())[1]) / 1000 if status.exists() else 0.0
