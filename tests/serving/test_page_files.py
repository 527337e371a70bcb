"""Files in the page: their words, and how it saves them."""

import json

import numpy as np
import pytest

pytest.importorskip("starlette")

import audiorec
from audiorec.audio.read import write
from audiorec.transcript import Piece, Result, Segment
from audiorec.transcript.formats import FORMATS
from tests.serving.visits import choose, paragraphs, rate, status, visit, wait_until


def test_files(chromium, server, model, recognizers, clip, tmp_path):
    """Several in turn; each has the words that the file has offline, and can be saved as Python would write it."""
    paths = [tmp_path / "first one.wav", tmp_path / "second.flac"]
    for path, part in zip(paths, (clip, clip[30000:]), strict=True):
        write(path, part, 8000)
    (tmp_path / "no audio.wav").write_text("words, but written ones")
    with visit(chromium, server.http) as (page, _):
        choose(page, model)
        page.get_by_label("Choose files").set_input_files([paths[0], tmp_path / "no audio.wav", paths[1]])
        wait_until(page, lambda: page.locator(".take").count() == 2 and status(page) == "Ready")
        assert page.get_by_role("alert").text_content().startswith("no audio.wav: file: ")
        for path in reversed(paths):
            expected = recognizers[model].transcribe(path)
            take = page.locator(".take", has=page.get_by_role("heading", name=path.name))
            assert take.locator(".words p").all_text_contents() == [segment.text for segment in expected.segments]
            for name, kind in {"Text": "text", "SRT": "srt", "VTT": "vtt", "JSON": "json"}.items():
                with page.expect_download() as download:
                    take.get_by_role("button", name=f"Save as {name}").click()
                saved = download.value.path().read_text()
                assert download.value.suggested_filename.startswith(path.stem.replace(" ", "-"))
                wanted = FORMATS[kind](expected, path.name)
                if kind == "json":
                    (saved, sure), (wanted, expect) = plain(saved), plain(wanted)
                    assert sure == pytest.approx(expect, abs=1e-4)  # rounding may differ
                assert saved == wanted
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.get_by_role("button", name="Copy").last.click()
        page.get_by_role("button", name="Copied").wait_for()
        assert page.evaluate("navigator.clipboard.readText()") == recognizers[model].transcribe(paths[0]).text


def plain(text):
    """What the page knows of a result in JSON, for tokens, alternatives and margin stay in the server; and confidences."""
    result = json.loads(text)
    segments = [{key: segment[key] for key in ("text", "words", "continues")} for segment in result["segments"]]
    sure = [word.pop("confidence") for segment in segments for word in segment["words"]]
    return {key: result[key] for key in ("name", "text", "seconds")} | {"segments": segments}, sure


def test_a_file_that_only_the_browser_reads(chromium, server, recognizers, tmp_path):
    """WebM, which browsers record: the page decodes it and streams it."""
    code = """async () => {
      const context = new AudioContext();
      const { stream } = context.createMediaStreamDestination();
      const microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
      const recorder = new MediaRecorder(microphone);
      const pieces = [];
      recorder.ondataavailable = ({ data }) => pieces.push(data);
      const done = new Promise((resolve) => (recorder.onstop = resolve));
      recorder.start();
      setTimeout(() => recorder.stop(), 2500);
      await done;
      microphone.getTracks().forEach((track) => track.stop());
      return [...new Uint8Array(await new Blob(pieces).arrayBuffer())];
    }"""
    with visit(chromium, server.http) as (page, wire):
        (tmp_path / "note.webm").write_bytes(bytes(page.evaluate(code)))
        with pytest.raises(audiorec.UserError):
            recognizers["ctc"].transcribe(tmp_path / "note.webm")
        page.get_by_label("Choose files").set_input_files(tmp_path / "note.webm")
        wait_until(page, lambda: page.locator(".take").count() == 1 and status(page) == "Ready")
        samples, at = wire.samples(), rate(wire)
        assert len(samples) / at > 2 and not page.get_by_role("alert").is_visible()
        assert paragraphs(page) == [s.text for s in recognizers["ctc"].transcribe(samples, at).segments]


def test_files_are_written_as_python_writes_them(chromium, server):
    """Subtitles, clocks and joins of words that no model says, letter for letter."""
    draw = np.random.default_rng(5)
    words = ["a", "<b>", "Tom & Jerry", "x" * 50, "né", "☂☂☂", "😀" * 20, "two-four", "ß"]
    with visit(chromium, server.http, microphone=False) as (page, _):
        for _ in range(60):
            at, segments = 0.0, []
            for _ in range(draw.integers(0, 5)):
                said = []
                for _ in range(draw.integers(0, 25)):
                    start = at + draw.choice([0, 0.0005, 0.25, 1 / 3, 3.7, 800.0], p=[0.3, 0.2, 0.2, 0.15, 0.14, 0.01])
                    at = start + draw.choice([0.0005, 0.0015, 0.125, 2.5])
                    said.append(Piece(str(draw.choice(words)), start, at, round(float(draw.random()), 6)))
                text = " ".join(word.text for word in said)
                segments.append(Segment(text, said, continues=bool(segments) and draw.random() < 0.3))
            result = Result(segments, seconds=at)
            given = {"name": "x", **json.loads(json.dumps(result.to_dict()))}
            written = page.evaluate(
                """async (take) => {
                  const { FORMATS } = await import("/page/formats.js");
                  return Object.values(FORMATS).map(([suffix, type, write]) => write(take));
                }""",
                given,
            )
            assert written[:3] == [FORMATS[kind](result, "x") for kind in ("text", "srt", "vtt")]
            assert plain(written[3]) == plain(FORMATS["json"](result, "x"))
