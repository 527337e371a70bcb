"""A real browser whose microphone is a recording: Debian's Chromium, or another that is found, driven by Playwright."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

NAMES = "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"


@contextmanager
def browser_driver() -> Iterator[Any]:
    """Playwright; a process has one at a time."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        yield driver


@contextmanager
def browser(driver: Any, microphone: Path, *options: str) -> Iterator[Any]:
    """``microphone``: a WAV file that is played once, as it stands, from the moment that a page opens the microphone."""
    own = driver.chromium.executable_path
    path = next(filter(None, map(shutil.which, NAMES)), own if Path(own).exists() else None)
    if path is None:
        pytest.skip(f"no browser here: none of {', '.join(NAMES)}")
    fake = "--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={microphone}%noloop"
    started = driver.chromium.launch(executable_path=path, args=["--no-sandbox", *fake, *options])
    try:
        yield started
    finally:
        started.close()


class Wire:
    """What a page sends over its WebSockets, by connection, and what it hears."""

    def __init__(self, page: Any):
        self.sent: list[list[str | bytes]] = []
        self.heard: list[list[str | bytes]] = []
        page.on("websocket", self._watch)

    def _watch(self, socket: Any) -> None:
        sent: list[str | bytes] = []
        heard: list[str | bytes] = []
        self.sent.append(sent)
        self.heard.append(heard)
        socket.on("framesent", lambda message: sent.append(message))
        socket.on("framereceived", lambda message: heard.append(message))

    def samples(self, connection: int = -1) -> np.ndarray:
        """The audio of a connection (T,), 16-bit."""
        data = b"".join(message for message in self.sent[connection] if isinstance(message, bytes))
        return np.frombuffer(data, "<i2")
