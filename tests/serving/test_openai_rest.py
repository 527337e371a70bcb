"""The REST interface as the openai package uses it."""

import io
import json
import re

import numpy as np
import pytest

import audiorec
from audiorec.audio.read import write

openai = pytest.importorskip("openai")
httpx = pytest.importorskip("httpx")


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=server.http + "/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def recording(clip, tmp_path_factory):
    path = tmp_path_factory.mktemp("audio") / "clip.wav"
    write(path, clip, 8000)
    return path


def test_models(client):
    assert [model.id for model in client.models.list()] == ["ctc", "rnnt"]
    assert client.models.retrieve("rnnt").owned_by == "audiorec"
    with pytest.raises(openai.NotFoundError, match="choose from ctc, rnnt"):
        client.models.retrieve("whisper-1")


def test_every_format(client, model, recording, offline):
    expected = offline[model]

    def ask(**options):
        return client.audio.transcriptions.create(model=model, file=recording, **options)

    assert ask().text == expected.text
    assert ask(response_format="text") == expected.text + "\n"
    verbose = ask(response_format="verbose_json", timestamp_granularities=["word", "segment"])
    assert verbose.text == expected.text and verbose.duration == 9.0
    assert [(w.word, w.start, w.end) for w in verbose.words] == [(w.text, w.start, w.end) for w in expected.words]
    assert "".join(segment.text for segment in verbose.segments) == " " + expected.text
    assert all(s.avg_logprob <= 0 and s.tokens and s.start < s.end for s in verbose.segments)
    assert ask(response_format="verbose_json", timestamp_granularities=["word"]).segments is None
    times = r"\d\d:\d\d:\d\d[,.]\d{3}"
    for kind, head in (("srt", r"1\n"), ("vtt", r"WEBVTT\n\n")):
        said = ask(response_format=kind)
        assert re.match(rf"{head}{times} --> {times}\n{expected.words[0].text}", said)
        lines = [line for line in said.splitlines() if not re.match(r"WEBVTT|\d+$|\d\d:", line)]
        assert " ".join(lines).replace("&lt;", "<").replace("&gt;", ">").split() == expected.text.split()
    tokens = ask(include=["logprobs"]).logprobs
    spelled = "".join(token.token for token in tokens)  # a word tokenizer's <unk> has no sign of a space
    assert spelled.replace("<unk>", " <unk>").strip() == expected.text
    assert all(bytes(map(int, token.bytes)).decode() == token.token and token.logprob <= 0 for token in tokens)


def test_deltas_only_append(client, model, recording, offline):
    with client.audio.transcriptions.create(model=model, file=recording, stream=True) as events:
        *deltas, done = events
    assert len(deltas) > 2 and {delta.type for delta in deltas} == {"transcript.text.delta"}
    assert "".join(delta.delta for delta in deltas) == done.text == offline[model].text
    assert done.type == "transcript.text.done"


def test_files_of_other_formats_and_rates(client, recognizers, tmp_path):
    wide = (np.random.default_rng(0).standard_normal(44100) / 10).astype(np.float32)
    for suffix in ("flac", "ogg", "opus", "mp3"):
        path = tmp_path / f"noise.{suffix}"
        write(path, wide[:44000] if suffix != "opus" else wide[:48000], 48000 if suffix == "opus" else 44100)
        said = client.audio.transcriptions.create(model="ctc", file=path, extra_body={"keywords": ["one", "?"]})
        assert said.text == audiorec.Recognizer.transcribe(recognizers["ctc"], path).text


BAD = {
    "no file": (400, "file", {"data": {"model": "ctc"}, "files": {"other": b"x"}}),
    "file as a field": (400, "file", {"data": {"file": "x"}, "files": {"other": b"x"}}),
    "no audio": (400, "not readable as audio", {"files": {"file": b"hello"}}),
    "an empty file": (400, "no bytes", {"files": {"file": ("a.wav", b"")}}),
    "another model": (404, "choose from", {"files": {"file": "wav"}, "data": {"model": "gpt-4o-transcribe"}}),
    "another format": (400, "response_format", {"files": {"file": "wav"}, "data": {"response_format": "xml"}}),
    "a granularity": (400, "letter", {"files": {"file": "wav"}, "data": {"timestamp_granularities[]": "letter"}}),
    "JSON": (400, "multipart", {"json": {"model": "ctc"}}),
    "a damaged form": (
        400,
        "multipart",
        {"content": b"--x\r\nContent", "headers": {"content-type": "multipart/form-data"}},
    ),
    "garbage in a form": (
        400,
        "damaged",
        {"content": b"garbage", "headers": {"content-type": "multipart/form-data; boundary=x"}},
    ),
    "a long field": (400, "damaged", {"files": {"file": "wav"}, "data": {"prompt": "x" * 2**17}}),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_requests(server, recording, name):
    status, message, request = BAD[name]
    if request.get("files", {}).get("file") == "wav":
        request = {**request, "files": {"file": recording.read_bytes()}}
    answer = httpx.post(server.http + "/v1/audio/transcriptions", **request, timeout=20)
    error = answer.json()["error"]
    assert answer.status_code == status and re.search(message, error["message"]) and error["code"], answer.text
    assert error["type"] == "invalid_request_error"


def test_a_file_cut_short_is_refused(client, recording):
    with pytest.raises(openai.BadRequestError, match="cut short"):
        client.audio.transcriptions.create(model="ctc", file=("a.wav", recording.read_bytes()[:-1000]))


def test_leaving_in_the_middle_frees_the_stream(server, recording, client, offline):
    for _ in range(12):  # more than there are streams
        with httpx.stream(
            "POST",
            server.http + "/v1/audio/transcriptions",
            files={"file": recording.read_bytes()},
            data={"stream": "true", "model": "ctc"},
        ) as answer:
            next(answer.iter_lines())
    assert client.audio.transcriptions.create(model="ctc", file=recording).text == offline["ctc"].text
    with io.BytesIO(recording.read_bytes()) as file:
        answer = httpx.post(server.http + "/v1/audio/transcriptions", files={"file": file})
    assert json.loads(answer.content)["text"] == offline["ctc"].text  # the first model is the default
