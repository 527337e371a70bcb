"""A microphone, or a recording played as if it were one, to words on the terminal."""

import math
import queue
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from audiorec.audio.read import blocks
from audiorec.errors import UserError
from audiorec.live import BaseRecognizer
from audiorec.transcript import Result

PIECE_SECONDS = 0.1
BARS = " ▁▂▃▄▅▆▇█"
QUEUE_SECONDS = 10.0  # that may wait for a recogniser which falls behind


def show(
    recognizer: BaseRecognizer, pieces: Iterable[np.ndarray], sample_rate: int, out: TextIO = sys.stdout
) -> Result:
    """Stream pieces of samples and write the words as they come: the line under way is rewritten, ended lines stay.

    A terminal shows the level of the audio before the line. Ctrl-C, or the end of the pieces, finishes the stream and writes
    its last words. Returns the whole result.
    """
    stream = recognizer.stream(sample_rate)
    line, ended = _Line(out), 0
    try:
        for samples in pieces:
            for segment in stream.accept(samples):
                line.end(segment.text)
                ended += 1
            line.rewrite(_text(stream.partial(), ended), meter(samples))
    except KeyboardInterrupt:
        pass
    result = stream.finish()
    if len(result.segments) > ended or not ended:
        line.end(_text(result, ended))
    return result


def meter(samples: np.ndarray) -> str:
    """One character for the level of samples (T,), of full bars at −6 dB down to none at −60."""
    power = float(np.square(samples, dtype=np.float64).mean()) if len(samples) else 0.0
    decibels = 10 * math.log10(max(power, 1e-10))
    return BARS[min(max(round((decibels + 60) / 54 * (len(BARS) - 1)), 0), len(BARS) - 1)]


def _text(result: Result, start: int) -> str:
    """The text of the segments from number ``start`` on."""
    return Result(result.segments[start:]).text


def microphones() -> list[str]:
    """The devices that hear, as ``--device`` takes them: number, name, rate. Raises UserError as `Microphone`."""
    sounddevice = _sounddevice()
    return [
        f"{index}  {device['name']}, {device['default_samplerate']:g} Hz"
        for index, device in enumerate(sounddevice.query_devices())
        if device["max_input_channels"] > 0
    ]


def _sounddevice() -> Any:
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: the PortAudio library is missing
        raise UserError(
            f"microphone: sounddevice does not import ({error}); `pip install audiorec-speech[mic]` (Debian: also apt "
            "install libportaudio2), or play a recording with --file"
        ) from None
    return sounddevice


class Microphone:
    """Pieces (T,) of what the microphone hears, mono float32, until the caller stops.

    At most ``QUEUE_SECONDS`` wait for the caller; what comes on top is dropped and counted. Raises UserError where there is
    no microphone.
    """

    def __init__(self, sample_rate: int, device: str | int | None = None):
        sounddevice = _sounddevice()
        self.sample_rate = sample_rate
        self.lost_seconds = 0.0
        self.gaps = 0
        self._queue: queue.Queue[np.ndarray] = queue.Queue(round(QUEUE_SECONDS / PIECE_SECONDS))
        self._dropping = False
        self._end: float | None = None  # when the last piece ended, by the sound card's clock
        size = int(PIECE_SECONDS * sample_rate)
        try:
            self._source = sounddevice.InputStream(
                sample_rate, size, device, channels=1, dtype="float32", callback=self._hear
            )
        except (sounddevice.PortAudioError, ValueError) as error:
            raise UserError(
                f"microphone: {error}; choose another with --device, or play a recording with --file"
            ) from None

    def __iter__(self) -> Iterator[np.ndarray]:
        with self._source:
            while True:
                yield self._queue.get()

    def loss(self) -> str | None:
        """How much audio was lost, in one line; None where none was."""
        if not self.gaps:
            return None
        return (
            f"microphone: {self.lost_seconds:.1f} s of audio were lost in {self.gaps} "
            f"{'gap' if self.gaps == 1 else 'gaps'}: recognition on this machine is slower than speech"
        )

    def _hear(self, samples: np.ndarray, frames: int, when: Any, status: Any) -> None:
        """PortAudio calls this in a thread of its own."""
        seconds, start = frames / self.sample_rate, when.inputBufferAdcTime
        if status.input_overflow:  # PortAudio itself has dropped samples before these
            self.gaps += 1
            self.lost_seconds += 0.0 if self._end is None else max(0.0, start - self._end)
        self._end = start + seconds
        try:
            self._queue.put_nowait(samples[:, 0].copy())
            self._dropping = False
        except queue.Full:
            self.gaps += not self._dropping
            self._dropping = True
            self.lost_seconds += seconds


def as_if_live(path: Path | str, speed: float = 1.0) -> Iterator[tuple[np.ndarray, int]]:
    """(pieces of 100 ms, sample rate) of a recording, each at the time when a microphone would have heard it.

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
        self.shown = "", ""

    def rewrite(self, text: str, meter: str) -> None:
        if self.live and (meter, text) != self.shown:
            width = shutil.get_terminal_size().columns - 3
            self.out.write(f"\r\x1b[K{meter} " + (text if len(text) <= width else "…" + text[1 - width :]))
            self.out.flush()
            self.shown = meter, text

    def end(self, text: str) -> None:
        self.out.write(("\r\x1b[K" if self.live else "") + text + "\n")
        self.out.flush()
        self.shown = "", ""
