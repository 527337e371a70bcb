"""How loud audio is: the level of every 10 ms in decibels, the same bytes however the samples are cut into pieces."""

import numpy as np

FRAME_SECONDS = 0.01
SILENT = 30  # dB below the loudest frame: what is as soft as that is silence
FULL_SCALE = 200  # the level of samples of ±1; level 0 is 200 dB below


class Levels:
    """Takes samples (T,) at ``sample_rate`` Hz, as many at a time as come, and keeps the level of each whole frame: one byte
    in dB, 100 bytes a second, until ``forget``. Samples past the last whole frame count in ``seconds`` only.

    Frames are counted from the first sample on, forgotten ones too. One thread pushes and forgets; others may read.
    """

    def __init__(self, sample_rate: int, samples: np.ndarray | None = None):
        self.sample_rate = sample_rate
        self.size = max(1, round(sample_rate * FRAME_SECONDS))
        self._kept = (
            0,
            bytearray(),
        )  # the number of frames forgotten, and the levels since: one value, so readers see both
        self._rest = np.zeros(0, np.float32)
        if samples is not None:
            self.push(samples)

    def push(self, samples: np.ndarray) -> None:
        """Add the next samples (T,), float32."""
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) // self.size * self.size
        # float64 and whole decibels, so that rounding does not tell how many frames came at once.
        power = np.square(samples[:whole].reshape(-1, self.size), dtype=np.float64).sum(1) / self.size
        level = 10 * np.log10(np.maximum(power, 1e-20)) + FULL_SCALE  # 0 or more
        self._kept[1].extend(np.rint(np.minimum(level, 255)).astype(np.uint8).tobytes())
        self._rest = samples[whole:]

    def forget(self, frame: int) -> None:
        """Drop the levels before ``frame``: nobody asks for them any more."""
        first, levels = self._kept
        if frame > first:
            self._kept = frame, levels[frame - first :]

    def between(self, start: int, end: int) -> bytes:
        """The levels of frames ``start`` to ``end - 1``, of those that exist and are not forgotten."""
        first, levels = self._kept
        return bytes(levels[max(start - first, 0) : max(end - first, 0)])

    def __len__(self) -> int:
        """The number of whole frames so far."""
        first, levels = self._kept
        return first + len(levels)

    @property
    def seconds(self) -> float:
        """The length of the audio so far."""
        return (len(self) * self.size + len(self._rest)) / self.sample_rate

    @property
    def frame_seconds(self) -> float:
        """The length of a frame: 10 ms, rounded to whole samples."""
        return self.size / self.sample_rate

    def peak(self, start: int, end: int) -> int:
        """The highest level of frames ``start`` to ``end - 1``; 0 where there are none."""
        return max(self.between(start, end), default=0)

    def silence(self, start: int, end: int, peak: int) -> bytes:
        """Of each frame from ``start`` to ``end - 1``: 1 if it is ``SILENT`` dB softer than ``peak``, else 0.

        Before the first frame that is kept and after the last there is silence.
        """
        softer, first = max(peak - SILENT + 1, 0), self._kept[0]
        inside = self.between(start, end).translate(bytes([1] * softer + [0] * (256 - softer)))
        before = b"\1" * (min(end, first) - min(start, first))
        return (before + inside).ljust(end - start, b"\1")

    def last_above(self, level: float, start: int, end: int) -> int:
        """The last of the frames ``start`` to ``end - 1`` that is louder than ``level``; ``start - 1`` where none is."""
        levels, first = self.between(start, end), max(start, self._kept[0])
        return next((first + i for i in reversed(range(len(levels))) if levels[i] > level), start - 1)

    def sound(self) -> tuple[float, float]:
        """Seconds from the first frame that is not silent beside the loudest one to the end of the last such frame."""
        silence = self.silence(0, len(self), self.peak(0, len(self)))
        return silence.find(b"\0") * self.frame_seconds, (silence.rfind(b"\0") + 1) * self.frame_seconds
