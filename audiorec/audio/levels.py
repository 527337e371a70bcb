"""How loud audio is: the level of every 10 ms in decibels, the same bytes however the samples are cut into pieces."""

import numpy as np

FRAME_SECONDS = 0.01
SILENT = 30  # dB below the loudest frame: what is as soft as that is silence
FULL_SCALE = 200  # the level of samples of ±1; level 0 is 200 dB below


class Levels:
    """Takes samples (T,) at ``sample_rate`` Hz, as many at a time as come. ``frames`` holds the level of each whole frame,
    one byte in dB: 100 bytes a second. Samples past the last whole frame count in ``seconds`` only."""

    def __init__(self, sample_rate: int, samples: np.ndarray | None = None):
        self.sample_rate = sample_rate
        self.size = max(1, round(sample_rate * FRAME_SECONDS))
        self.frames = bytearray()
        self._rest = np.zeros(0, np.float32)
        if samples is not None:
            self.push(samples)

    def push(self, samples: np.ndarray) -> None:
        """Add the next samples (T,), float32."""
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) // self.size * self.size
        # float64 and whole decibels, so that rounding does not tell how many frames came at once.
        power = np.square(samples[:whole].reshape(-1, self.size), dtype=np.float64).mean(1)
        level = 10 * np.log10(np.maximum(power, 1e-20)) + FULL_SCALE
        self.frames += np.rint(level).clip(0, 255).astype(np.uint8).tobytes()
        self._rest = samples[whole:]

    @property
    def seconds(self) -> float:
        """The length of the audio so far."""
        return (len(self.frames) * self.size + len(self._rest)) / self.sample_rate

    @property
    def frame_seconds(self) -> float:
        """The length of a frame: 10 ms, rounded to whole samples."""
        return self.size / self.sample_rate

    def peak(self, start: int, end: int) -> int:
        """The highest level of frames ``start`` to ``end - 1``; 0 where there are none."""
        return max(self.frames[max(start, 0) : max(end, 0)], default=0)

    def silence(self, start: int, end: int, peak: int) -> bytes:
        """Of each frame from ``start`` to ``end - 1``: 1 if it is ``SILENT`` dB softer than ``peak``, else 0.

        Before the audio's first frame and after its last there is silence.
        """
        softer = max(peak - SILENT + 1, 0)
        inside = self.frames[max(start, 0) : max(end, 0)].translate(bytes([1] * softer + [0] * (256 - softer)))
        before = b"\1" * (min(end, 0) - min(start, 0))
        return (before + inside).ljust(end - start, b"\1")

    def sound(self) -> tuple[float, float]:
        """Seconds from the first frame that is not silent beside the loudest one to the end of the last such frame."""
        silence = self.silence(0, len(self.frames), self.peak(0, len(self.frames)))
        return silence.find(b"\0") * self.frame_seconds, (silence.rfind(b"\0") + 1) * self.frame_seconds
