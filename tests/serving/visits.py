"""A visit to the server's page in a real browser: what stands on it, and what goes over its wires."""

import json
import time
from contextlib import contextmanager

import numpy as np

from tests.serving.browser import Wire

LEAD = 1.0  # seconds of silence before the recording: the page needs a moment to listen


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
