"""The page in a real browser that hears a recording: its words, its keys, its files, and what it says when things go wrong."""

import json
import re
import time
from contextlib import contextmanager

import numpy as np
import pytest

pytest.importorskip("starlette")

import audiorec
from audiorec.audio.read import write
from audiorec.transcript import Piece, Result, Segment
from audiorec.transcript.formats import FORMATS
from tests.serving.browser import Wire, browser, browser_driver
from tests.serving.servers import Running

LEAD = 1.0  # seconds of silence before the recording: the page needs a moment to listen
TOKEN = "öffne ☂ Sesam"
SIZES = {"telephone": (360, 740), "tablet": (768, 1024), "desk": (1280, 800)}


@pytest.fixture(scope="module")
def said(clip, tmp_path_factory):
    """The clip as the microphone plays it, a file."""
    path = tmp_path_factory.mktemp("microphone") / "said.wav"
    write(path, np.concatenate([np.zeros(int(8000 * LEAD), np.int16), clip, np.zeros(4000, np.int16)]), 8000)
    return path


@pytest.fixture(scope="module")
def driver():
    with browser_driver() as started:
        yield started


@pytest.fixture(scope="module")
def chromium(driver, said):
    with browser(driver, said) as started:
        yield started


@contextmanager
def visit(chromium, address, microphone=True, ready="Ready", **options):
    """A page in a fresh context, with what goes over its wires. No script of it may fail, no policy be broken."""
    context = chromium.new_context(permissions=["microphone"] if microphone else [], **options)
    page = context.new_page()
    page.set_default_timeout(20_000)
    wrong, wire = [], Wire(page)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda line: "Content Security Policy" in line.text and wrong.append(line.text))
    page.goto(address)
    wait_until(page, lambda: status(page) == ready)
    yield page, wire
    context.close()
    assert not wrong


def wait_until(page, true, seconds=30):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, (status(page), page.locator("#notice").text_content())
        page.wait_for_timeout(20)


def status(page):
    return page.locator("#status").text_content()


def paragraphs(page):
    """The segments on the page, of the newest take."""
    return [one.text_content() for one in page.locator(".take").first.locator(".words p").all()]


def choose(page, model):
    page.locator("#options summary").click()
    page.get_by_label("Model").select_option(model)
    page.locator("#options summary").click()
    page.evaluate("document.activeElement.blur()")


def listen(page, wire, seconds):
    """Until the page has sent so much of what the microphone plays."""
    wait_until(page, lambda: wire.sent and wire.sent[-1] and len(wire.samples()) >= seconds * rate(wire))


def rate(wire, connection=-1):
    return json.loads(wire.sent[connection][0])["sample_rate"]


def position(part, heard, rate):
    """The second of what was heard at which a part of the clip (T,) begins, by cross-correlation."""
    heard = np.interp(np.arange(0, len(heard) / rate, 1 / 8000), np.arange(len(heard)) / rate, heard)
    size = 2 ** int(np.ceil(np.log2(len(heard) + len(part))))
    match = np.fft.irfft(np.fft.rfft(heard, size) * np.fft.rfft(part.astype(float), size).conj())
    best = int(np.argmax(match[: len(heard) - len(part) + 1]))
    assert np.corrcoef(part, heard[best : best + len(part)])[0, 1] > 0.6, "the microphone has not played this"
    return best / 8000


def test_words_of_the_microphone(chromium, server, model, clip, recognizers, tmp_path):
    """What stands on the page are the words that the very samples it sent have offline, and it sent the whole recording."""
    with visit(chromium, server.http) as (page, wire):
        choose(page, model)
        page.keyboard.press(" ")
        page.locator(".live .word").first.wait_for()
        assert page.get_by_role("button", name="Stop").is_visible() and status(page) == "Listening"
        page.locator(".settles").first.wait_for()  # a partial has become final: the clip has a pause
        listen(page, wire, LEAD + len(clip) / 8000 + 0.3)
        page.keyboard.press(" ")
        wait_until(page, lambda: status(page) == "Ready")
        samples, at = wire.samples(), rate(wire)
        expected = recognizers[model].transcribe(samples, at)
        assert paragraphs(page) == [segment.text for segment in expected.segments] and len(expected.words) > 5
        position(clip[:8000], samples, at)  # the first second and the last one are in it
        position(clip[-8000:], samples, at)
        assert page.get_by_role("log").locator("p").all_text_contents() == [s.text for s in expected.segments]
        for figure in ("#latency", "#last"):
            assert re.fullmatch(r"−?\d+ ms", page.locator(figure).text_content())

        word, first = page.locator(".word").first, expected.words[0]
        word.hover()
        tip = page.get_by_role("tooltip")
        sure = [
            event["words"][0]["confidence"] for event in map(json.loads, wire.heard[-1]) if event["type"] == "final"
        ]
        assert tip.text_content() == f"{first.start:.2f} to {first.end:.2f} s, {100 * sure[0]:.0f} % sure"
        words = page.locator(".words .word").all_text_contents()
        shown = [
            re.search("unsure|doubtful|sure", one.get_attribute("class"))[0]
            for one in page.locator(".words .word").all()
        ]
        kinds = [
            "doubtful" if w.confidence < 0.5 else "unsure" if w.confidence < 0.8 else "sure" for w in expected.words
        ]
        assert words == [word.text for word in expected.words] and shown == kinds
        for name, (width, height) in SIZES.items():
            for scheme in ("light", "dark"):
                page.set_viewport_size({"width": width, "height": height})
                page.emulate_media(color_scheme=scheme)
                picture = page.screenshot(path=tmp_path / f"{name}-{scheme}.png", full_page=True)
                assert len(picture) > 10_000
                assert page.evaluate("document.documentElement.scrollWidth") == width, "it scrolls sideways"


def test_no_last_word_is_lost(chromium, server, clip, recognizers):
    """Stop is pressed a little before the speaker has ended: all of the recording arrives, and more."""
    with visit(chromium, server.http) as (page, wire):
        page.keyboard.press(" ")
        page.locator(".live .word").first.wait_for()
        listen(page, wire, LEAD + 1)
        start = position(clip[:6000], wire.samples(), rate(wire))
        listen(page, wire, start + len(clip) / 8000 - 0.1)
        page.keyboard.press(" ")
        wait_until(page, lambda: status(page) == "Ready")
        samples, at = wire.samples(), rate(wire)
        assert position(clip[-8000:], samples, at) + 1.1 <= len(samples) / at
        assert paragraphs(page) == [s.text for s in recognizers["ctc"].transcribe(samples, at).segments]
        assert json.loads(wire.heard[-1][-1]) == {
            **json.loads(wire.heard[-1][-1]),
            "type": "end",
            "seconds": pytest.approx(len(samples) / at, abs=1e-9),
        }


def test_the_audio_thread_keeps_no_sample(chromium, server):
    """The worklet alone: packets, then on request what it still holds, then nothing more."""
    code = """async () => {
      const context = new OfflineAudioContext({ numberOfChannels: 2, length: 128 * 37, sampleRate: 48000 });
      await context.audioWorklet.addModule("/page/worklet.js");
      const ramp = context.createBuffer(2, 128 * 37, 48000);
      for (const c of [0, 1]) ramp.getChannelData(c).forEach((_, i, all) => (all[i] = c ? 2 * i : 0));
      const source = new AudioBufferSourceNode(context, { buffer: ramp });
      const node = new AudioWorkletNode(context, "packets", { processorOptions: { size: 128 * 10 } });
      const packets = [];
      const done = new Promise((resolve) => {
        node.port.onmessage = ({ data }) => (data === null ? resolve() : packets.push([...data]));
      });
      source.connect(node).connect(context.destination);
      source.start();
      await context.startRendering();
      node.port.postMessage("stop");
      await done;
      return packets;
    }"""
    with visit(chromium, server.http, microphone=False) as (page, _):
        packets = page.evaluate(code)
    assert [len(packet) for packet in packets] == [1280, 1280, 1280, 896]
    assert [sample for packet in packets for sample in packet] == [*range(128 * 37)]  # the mean of both channels


def test_keys(chromium, server):
    with visit(chromium, server.http) as (page, wire):
        page.get_by_role("button", name="Start").focus()
        page.keyboard.press(" ")  # the button's own key: once, not twice
        page.locator(".live .word").first.wait_for()
        page.keyboard.press("Escape")
        wait_until(page, lambda: status(page) == "Cancelled")
        assert page.locator(".take").count() == 0  # there was nothing final
        wait_until(
            page,
            lambda: not any(m["streams"] for m in page.request.get(server.http + "/health").json()["models"].values()),
        )
        page.locator("#options summary").click()
        page.get_by_label("Model").focus()
        page.keyboard.press(" ")  # belongs to the field
        assert len(wire.sent) == 1
        page.keyboard.press("Escape")

        page.evaluate("document.activeElement.blur()")
        page.keyboard.press(" ")
        page.locator(".settles").first.wait_for()
        page.keyboard.press("Escape")
        wait_until(page, lambda: status(page) == "Cancelled")
        assert page.locator(".take").count() == 1 and page.locator(".live").count() == 0  # what was final stays
        words = page.locator(".words .word")
        page.locator(".close").focus()
        page.keyboard.press("Tab")
        for key, at in (
            ("", 0),
            ("ArrowRight", 1),
            ("End", words.count() - 1),
            ("ArrowRight", words.count() - 1),
            ("ArrowLeft", -2),
        ):
            if key:
                page.keyboard.press(key)
            assert words.nth(at).evaluate("word => word === document.activeElement")
            assert page.get_by_role("tooltip").text_content() == words.nth(at).get_attribute("data-tip")
        page.keyboard.press("Tab")  # all words are one stop
        assert page.evaluate("document.activeElement.textContent") == "Copy"
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Enter")
        assert page.locator(".take").count() == 0


def test_every_control_has_a_name(chromium, server, said):
    with visit(chromium, server.http) as (page, _):
        page.locator("#options summary").click()
        page.get_by_label("Choose files").set_input_files(said)
        page.get_by_role("button", name="Save as SRT").wait_for()
        for control in page.locator("button, input, select, textarea, [role=meter]").all():
            if control.is_visible():
                # the name as a screen reader gets it
                snapshot = control.aria_snapshot().splitlines()[0]
                assert '"' in snapshot, snapshot
        assert page.get_by_role("main").get_attribute("aria-label") and page.locator("h1").count() == 1
        assert page.locator("html").get_attribute("lang") == "en"


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


def test_a_server_with_a_token(chromium, models, recognizers):
    with (
        Running(f"one={models['ctc']}", "--threads", 1, "--search", "beam", AUDIOREC_TOKEN=TOKEN) as running,
        visit(chromium, running.http, ready="Not connected") as (page, wire),
    ):
        page.get_by_label("This server asks for its token").fill("another")
        page.keyboard.press("Enter")
        wait_until(page, lambda: "does not take this token" in page.get_by_role("alert").text_content())
        page.get_by_label("This server asks for its token").fill(TOKEN)
        page.keyboard.press("Enter")
        wait_until(page, lambda: status(page) == "Ready")
        assert not page.locator("#gate").is_visible()
        page.reload()
        wait_until(page, lambda: status(page) == "Ready")  # this tab keeps it
        assert page.evaluate("JSON.stringify(localStorage)").count("Sesam") == 0
        page.locator("#options summary").click()
        page.get_by_label("Hotwords").fill("seven nine\n\n two ")
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press(" ")
        listen(page, wire, 4)
        page.keyboard.press(" ")
        wait_until(page, lambda: status(page) == "Ready")
        samples, at = wire.samples(), rate(wire)
        hot = audiorec.load(models["ctc"], search={"kind": "beam", "hotwords": ["seven nine", "two"]})
        assert paragraphs(page) == [segment.text for segment in hot.transcribe(samples, at).segments]
        assert "Sesam" not in json.dumps(running.log(), ensure_ascii=False)


def test_a_microphone_that_is_refused(chromium, server):
    with visit(chromium, server.http, microphone=False) as (page, _):
        page.keyboard.press(" ")
        wait_until(page, lambda: "refused the microphone" in page.get_by_role("alert").text_content())
        assert page.get_by_role("button", name="Start").is_enabled() and status(page) == "Ready"


def test_a_name_that_leads_here(driver, server, said):
    """By plain HTTP from a name there is no microphone, and unless the server knows the name, no words: whoever owns the name
    could have made it lead here. The page says both."""
    with (
        browser(driver, said, "--host-resolver-rules=MAP speech.example 127.0.0.1") as started,
        visit(started, f"http://speech.example:{server.port}/", microphone=False) as (page, _),
    ):
        assert "only to pages from https or from localhost" in page.get_by_role("alert").text_content()
        assert page.get_by_role("button", name="Start").is_disabled()
        page.keyboard.press(" ")
        page.get_by_label("Choose files").set_input_files(said)
        wait_until(page, lambda: "--allow-origin http://speech.example" in page.get_by_role("alert").text_content())


def test_no_script_but_ours(chromium, server):
    context = chromium.new_context()
    page = context.new_page()
    page.goto(server.http)
    code = """() => {
      for (const [name, text] of [["script", "window.hurt = 1"]]) {
        document.body.append(Object.assign(document.createElement(name), { textContent: text }));
      }
      document.body.insertAdjacentHTML("beforeend", '<img src="x" onerror="window.hurt = 2">');
      document.body.append(Object.assign(document.createElement("script"), { src: "data:text/javascript,window.hurt = 3" }));
      return new Promise((done) => setTimeout(() => done(window.hurt ?? 0), 300));
    }"""
    assert page.evaluate(code) == 0
    with pytest.raises(Exception, match="fetch"):
        page.evaluate("fetch('https://example.org/')")
    context.close()


@pytest.mark.slow
def test_the_server_comes_back(chromium, models, clip, recognizers):
    """It is stopped while one speaks and started again: what was not final is sent again, and no word is missing."""
    first = Running(models["ctc"], "--threads", 1)
    with visit(chromium, first.http) as (page, wire):
        page.keyboard.press(" ")
        listen(page, wire, LEAD + 4)
        first.stop()
        wait_until(page, lambda: status(page).startswith("Again in"))
        assert "is kept" in page.get_by_role("alert").text_content()
        with Running(models["ctc"], "--threads", 1, "--port", first.port):
            wait_until(page, lambda: status(page) == "Listening")
            assert not page.get_by_role("alert").is_visible()
            page.wait_for_timeout(500)
            page.keyboard.press(" ")
            wait_until(page, lambda: status(page) == "Ready")
            first_samples, last = wire.samples(0), wire.samples()
            before = recognizers["ctc"].transcribe(first_samples, rate(wire, 0))
            after = recognizers["ctc"].transcribe(last, rate(wire))
            assert paragraphs(page) == [segment.text for segment in before.segments + after.segments]
            # The two meet: the second begins no later than the first one's last word ended.
            begin = position(clip[:8000], first_samples, rate(wire, 0)) - (position(clip[-8000:], last, rate(wire)) - 8)
            assert 1 < begin <= before.words[-1].end + 0.05
            tip = page.locator(".words .word").last.get_attribute("data-tip")  # of the recording, not of the connection
            assert float(tip.split()[0]) == pytest.approx(begin + after.words[-1].start, abs=0.1)
