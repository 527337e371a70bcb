"""The page as plain HTTP sees it: what is served, to whom, under which policy; and the addresses that it alone asks."""

import base64
import json
import re
import socket
from pathlib import Path

import pytest

pytest.importorskip("starlette")
pytest.importorskip("httpx")
import httpx
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

import audiorec
from audiorec.audio.read import write
from audiorec.serving.page_files import FOLDER
from tests.conftest import make_model
from tests.serving.servers import Running

FILES = sorted(path.name for path in FOLDER.iterdir())
TOKEN = "öffne, Sesam"  # no header takes it as it is, no subprotocol either


@pytest.fixture(scope="module")
def guarded(models):
    with Running(f"one={models['ctc']}", "--threads", 1, "--search", "beam", AUDIOREC_TOKEN=TOKEN) as running:
        yield running


def test_the_page_and_its_files(server, guarded):
    """They need no token, come with a policy that lets no other script in, and name nothing of another host."""
    for running in (server, guarded):
        page = httpx.get(running.http + "/")
        assert page.status_code == 200 and page.headers["content-type"] == "text/html; charset=utf-8"
        named = re.findall(r'(?:src|href)="([^"#]+)"', page.text)
        assert named and all(httpx.get(f"{running.http}/{name}").status_code == 200 for name in named)
    for name in FILES:
        answer = httpx.get(server.http + ("/" if name == "index.html" else f"/page/{name}"))
        assert answer.status_code == 200 and answer.content == (FOLDER / name).read_bytes()
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert httpx.get(answer.url, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
        foreign = set(re.findall(r"https?://[^\s\"'`]+", answer.text)) - {"http://www.w3.org/2000/svg"}
        assert all(address.startswith("http://localhost:") for address in foreign)  # a hint to people
    page = (FOLDER / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*src=)|<style| style=| on\w+=", page)


def raw(running, request: str) -> bytes:
    """The answer to a request as it stands; clients would tidy it up."""
    with socket.create_connection(("127.0.0.1", running.port), 5) as one:
        one.sendall(f"{request}\r\nHost: 127.0.0.1:{running.port}\r\nConnection: close\r\n\r\n".encode("latin-1"))
        answer = b""
        while piece := one.recv(65536):
            answer += piece
        return answer


@pytest.mark.parametrize(
    "path",
    [
        *("/page/../settings.py", "/page/%2e%2e/settings.py", "/page/..%2fsettings.py", "/page/..%5csettings.py"),
        *("/page/....//settings.py", "//page/main.js", "/page//main.js", "/page/./main.js", "/page/", "/page"),
        *("/page/main.js%00.css", "/page/main.js/", "/page/index.html", "/page//etc/passwd", "/../../etc/passwd"),
        *("/page/%252e%252e%252fsettings.py", "/page/main.js;x", "/page/\xff", "http://other/page/../settings.py"),
    ],
)
def test_no_path_leads_elsewhere(server, path):
    """Each file is an address of its own, so there is nothing to climb out of."""
    for method in ("GET", "HEAD"):
        answer = raw(server, f"{method} {path} HTTP/1.1")
        status = int(answer.split()[1])
        assert status in (307, 400, 404), answer
        assert b"class Limits" not in answer and b"root:" not in answer
        if status == 307:  # to the same path without its slash
            assert re.search(rb"location: \S+/page(/main\.js)?\r\n", answer)
    assert b" 405 " in raw(server, "POST /page/main.js HTTP/1.1").splitlines()[0]


def test_pages_of_others_get_nothing(server, guarded):
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        for path in ("/", "/page/main.js", "/page/icon.svg", "/v1/about"):
            answer = httpx.get(server.http + path, headers={"Origin": origin})
            assert answer.status_code == 403 and "access-control-allow-origin" not in answer.headers
        assert httpx.post(server.http + "/v1/stream", headers={"Origin": origin}).json()["error"]["code"] == (
            "forbidden_origin"
        )
    answer = httpx.get(server.http + "/")
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


def test_about(server, guarded):
    told = httpx.get(server.http + "/v1/about").json()
    assert told["server"] == "audiorec" and told["version"] == audiorec.__version__ and told["max_upload_bytes"] > 0
    assert [(model["name"], model["base"]) for model in told["models"]] == [("ctc", "ctc"), ("rnnt", "rnnt")]
    assert all(model["latency_ms"] > 0 and not model["hotwords"] for model in told["models"])
    assert httpx.get(guarded.http + "/v1/about").status_code == 401
    header = {"Authorization": f"Bearer {TOKEN}".encode()}
    assert httpx.get(guarded.http + "/v1/about", headers=header).json()["models"][0]["hotwords"]


def test_a_token_as_a_page_sends_it(guarded):
    """A page cannot set headers of a WebSocket, and its subprotocols take few characters: so base64url."""
    coded = base64.urlsafe_b64encode(TOKEN.encode()).decode().rstrip("=")
    with connect(guarded.ws + "/v1/stream", subprotocols=["audiorec", "audiorec-token64." + coded]) as talk:
        assert talk.subprotocol == "audiorec"  # never the token
        talk.send('{"type": "config"}')
        assert json.loads(talk.recv(10))["type"] == "ready"
    for wrong in ("", "x", "ÿ".encode("latin-1").hex(), coded[:-2], "A" * 5):
        with pytest.raises(InvalidStatus) as refused:
            connect(guarded.ws + "/v1/stream", subprotocols=["audiorec", "audiorec-token64." + wrong])
        assert refused.value.response.status_code == 401


def test_why_a_connection_was_refused(server, guarded):
    """The question of a page whose WebSocket was refused."""
    answer = httpx.post(server.http + "/v1/stream")
    assert answer.status_code == 426 and answer.json()["error"]["code"] == "upgrade_required"
    assert httpx.post(guarded.http + "/v1/stream").json()["error"]["code"] == "unauthorized"


def test_a_file_as_events(server, model, clip, offline, tmp_path):
    """What the page reads of a file that it sends: the events of /v1/stream, a line each."""
    write(tmp_path / "clip.wav", clip, 8000)
    fields = {"response_format": "events", "model": model}
    with httpx.Client() as client, (tmp_path / "clip.wav").open("rb") as file:
        answer = client.post(server.http + "/v1/audio/transcriptions", data=fields, files={"file": file})
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    *events, end = [json.loads(line) for line in answer.text.splitlines()]
    assert end == {"type": "end", "seconds": len(clip) / 8000, "segments": len(offline[model].segments)}
    finals = [event for event in events if event["type"] == "final"]
    assert [event["segment"] for event in finals] == [*range(len(finals))]
    for event, segment in zip(finals, offline[model].segments, strict=True):
        assert event["text"] == segment.text and event["continues"] == segment.continues
        assert [(w["text"], w["start"], w["end"]) for w in event["words"]] == [
            (w.text, w.start, w.end) for w in segment.words
        ]
    assert any(event["type"] == "partial" and event["settled"] == len(event["text"]) for event in events)
    answer = httpx.post(server.http + "/v1/audio/transcriptions", data=fields, files={"file": b"no audio"})
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "bad_audio"


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) > 4 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_text_can_be_read():
    """WCAG 2.2 AA: a contrast of 4.5 for text, and of 3 for edges of fields, in light and in dark."""
    style = (FOLDER / "page.css").read_text()
    themes = [dict(re.findall(r"(--[\w-]+): (#\w+);", block)) for block in re.findall(r":root \{([^}]+)\}", style)]
    assert len(themes) == 2
    texts = "ink paper, ink card, soft paper, soft card, accent card, accent wash, ink wash, on-accent accent"
    texts += ", on-live live, warn warn-wash, paper ink, soft line"
    edges = "edge card, edge paper, accent card, live card, warn card, accent line"
    for least, pairs in ((4.5, texts), (3.0, edges)):
        for theme in themes:
            for pair in pairs.split(", "):
                a, b = (luminance(theme[f"--{name}"]) for name in pair.split())
                assert (max(a, b) + 0.05) / (min(a, b) + 0.05) >= least, pair


def test_the_wheels_hold_the_page():
    """Whatever lies in the package goes into both wheels: neither leaves files out by their ending."""
    root = Path(__file__).parents[2]
    for project in (root, root / "tools" / "runtime"):
        build = (project / "pyproject.toml").read_text().partition("[tool.scikit-build]")[2]
        left_out = re.findall(r'"([^"]+)"', " ".join(re.findall(r"(?ms)^(?:wheel|sdist)\.exclude = \[(.+?)\]", build)))
        assert not [pattern for pattern in left_out if re.search(r"serving|\*\.(js|css|html|svg)", pattern)]


def test_several_latencies_of_a_model(tmp_path, clip):
    """Each is a model of its own, with words of its own; the first has the plain name."""
    contexts = [{"left": 8, "chunk": 1}, {"left": 8, "chunk": 5}]
    options = {"dim": 8, "heads": 2, "layers": 1, "strides": [3], "contexts": contexts}
    recognizer = audiorec.load(make_model(tmp_path / "one", kind="conformer", **options))
    slow, fast = sorted(recognizer.model.latencies, reverse=True)
    several = "--latency-ms", slow, "--latency-ms", fast, "--latency-ms", slow
    with Running(tmp_path / "one", *several, "--threads", 1) as running:
        models = httpx.get(running.http + "/v1/about").json()["models"]
        names = ["one", f"one@{fast:g}"]
        assert [(model["name"], model["base"]) for model in models] == [(name, "one") for name in names]
        for name, ms, told in zip(names, (slow, fast), models, strict=True):
            view = recognizer.at_latency(ms)
            assert told["latency_ms"] == round(view.latency_ms, 1)
            heard = audiorec.Client(running.ws, name).transcribe(clip, 8000)
            assert heard.words == view.transcribe(clip, 8000).words
        assert models[0]["latency_ms"] > models[1]["latency_ms"]
