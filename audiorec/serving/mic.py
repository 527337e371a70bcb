"""A microphone, or a recording played as if it were one, to words on the terminal."""

import queue
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

import numpy as np

from audiorec.audio.read import blocks
from audiorec.errors import UserError
from audiorec.recognizer import Recognizer, Result

PIECE_SECONDS = 0.1


def show(recognizer: Recognizer, pieces: Iterable[np.ndarray], sample_rate: int, out: TextIO = sys.stdout) -> Result:
    """Stream pieces of samples and write the words as they come: the line under way is rewritten, ended lines stay.

    Ctrl-C, or the end of the pieces, finishes the stream and writes its last words. Returns the whole result.
    """
    stream = recognizer.stream(sample_rate)
    line = _Line(out)
    try:
        for samples in pieces:
            for segment in stream.accept(samples):
                line.end(segment.text)
            line.rewrite(stream.partial().text)
    except KeyboardInterrupt:
        pass
    result = stream.finish()
    line.end(result.text)
    return result


def microphone(sample_rate: int, device: str | int | None = None) -> Iterator[np.ndarray]:
    """Pieces (T,) of what the microphone hears, until the caller stops. Raises UserError where there is none."""
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: the PortAudio library is missing
        raise UserError(
            f"microphone: sounddevice does not import ({error}); `pip install audiorec-speech[mic]` (Debian: also apt install "
            "libportaudio2), or play a recording with --file"
        ) from None
    heard: queue.SimpleQueue[np.ndarray] = queue.SimpleQueue()

    def hear(samples: np.ndarray, frames: int, when: object, status: object) -> None:
        heard.put(samples[:, 0].copy())

    try:
        source = sounddevice.InputStream(
            sample_rate, int(PIECE_SECONDS * sample_rate), device, channels=1, dtype="float32", callback=hear
        )
    except (sounddevice.PortAudioError, ValueError) as error:
        raise UserError(f"microphone: {error}; choose another with --device, or play a recording with --file") from None
    with source:
        while True:
            yield heard.get()


def as_if_live(path: Path | str, speed: float = 1.0) -> Iterator[tuple[np.ndarray, int]]:
    """(pieces of 100 ms, sample rate) of a recording, each given when a microphone would have heard it.

    ``speed`` 2 plays twice as fast as live, 0 as fast as it can be.
    """
    due = time.monotonic()
    for samples, rate in blocks(path):
        size = round(PIECE_SECONDS * rate)
        for start in range(0, len(samples), size):
            piece = samples[start : start + size]
            if speed:
                due += len(piece) / rate / speed
                time.sleep(max(0.0, due - time.monotonic()))
            yield piece, rate


class _Line:
    """One line of a terminal that is rewritten in place; elsewhere only ended lines are written."""

    def __init__(self, out: TextIO):
        self.out = out
        self.live = out.isatty()
        self.shown = ""

    def rewrite(self, text: str) -> None:
        if self.live and text != self.shown:
            width = shutil.get_terminal_size().columns - 1
            self.out.write("\r\x1b[K" + (text if len(text) <= width else "…" + text[1 - width :]))
            self.out.flush()
            self.shown = text

    def end(self, text: str) -> None:
        self.out.write(("\r\x1b[K" if self.live else "") + text + "\n")
        self.out.flush()
        self.shown = ""
