"""The page in a real browser that hears a recording: its words and its keys."""

import json
import re

import pytest

pytest.importorskip("starlette")

from tests.serving.servers import Running
from tests.serving.visits import LEAD, choose, listen, paragraphs, position, rate, status, visit, wait_until

SIZES = {"telephone": (360, 740), "tablet": (768, 1024), "desk": (1280, 800)}


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
