"""``Resampler``: another sample rate for a stream of samples, by a polyphase FIR filter that holds back at most 3 ms."""

from functools import lru_cache
from math import gcd

import numpy as np
from audiorec_kernels.resample import LIBRARY, Filters
from numpy.polynomial import chebyshev

from audiorec.audio.file import RATES
from audiorec.errors import UserError

AHEAD_SECONDS = 0.003  # input after an output sample that its filter needs
# In samples of the lower rate: more than 48 gain nothing, and less than 24 (rates below 8 kHz) leave no pass band.
AHEAD_SAMPLES = (24.0, 48.0)
PAST = 3  # the filter reaches this many times as far back as ahead; more would cost no delay, but arithmetic
# The pass band ends this far below the lower rate's Nyquist frequency, where the stop band begins: cycles per AHEAD.
TRANSITION = 1.2
STOP_WEIGHT = 100.0  # an error in the stop band counts this many times one in the pass band
MAX_PHASES = 1024  # of more phases each is interpolated between two of 256, with an error below −90 dB
FEW_PHASES = 16  # so few are computed one after another
NATIVE = LIBRARY is not None  # a tenth of the time that numpy takes
_BLOCK = 1 << 17  # products at once: they stay in the processor's cache


class Resampler:
    """Resample a stream of samples (T,), T ≥ 0 each time: any split of the input gives the same output, bit for bit.

    n samples in give n · to_rate / from_rate out, rounded, once flushed; the same samples where the rates agree.
    Output sample m lies at time m / to_rate: nothing is delayed. Raises UserError for a rate outside RATES.
    """

    def __init__(self, from_rate: int, to_rate: int):
        for rate in (from_rate, to_rate):
            if not RATES[0] <= rate <= RATES[1]:
                raise UserError(f"sample rate {rate} Hz: must lie between {RATES[0]} and {RATES[1]} Hz")
        self._same = from_rate == to_rate
        if self._same:
            self._latency = 0.0
            return
        divisor = gcd(from_rate, to_rate)
        # Output sample m lies at input sample m · down / up.
        self._up, self._down = to_rate // divisor, from_rate // divisor
        self._past, self._ahead, self._filters = _filters(from_rate, to_rate)
        self._native = _native(from_rate, to_rate) if NATIVE and self._up <= MAX_PHASES else None
        self._latency = self._ahead / from_rate
        self._waiting = np.zeros(self._past, np.float32)  # zeros stand before the first sample
        self._next = 0  # the next output sample, counted in 1 / up input samples from the first window's
        self._pushed = self._returned = 0

    @property
    def latency_seconds(self) -> float:
        """Audio held back at worst: the duration pushed less the duration returned. At most 3 ms from 8 kHz on."""
        return self._latency

    def reach(self, start: int, end: int | None) -> tuple[int, int | None, int]:
        """Where to read for the output samples from ``start`` to ``end`` alone, bit for bit: the first input sample and the one
        after the last, None where ``end`` is; and how many output samples come before ``start`` then."""
        if self._same:
            return start, None if end is None else max(start, end), 0
        # At multiples of `down` an output sample lies on an input sample, as at 0, so the phases of the filter agree.
        whole = max(0, start * self._down // self._up - self._past) // self._down
        first = whole * self._down
        last = None if end is None else max(first, (end - 1) * self._down // self._up + self._ahead + 1)
        return first, last, start - whole * self._up

    def returns(self, count: int) -> int:
        """How many samples ``push`` would return for the next ``count``, however they are cut."""
        if self._same:
            return count
        complete = max(0, len(self._waiting) + count - self._filters.shape[1] + 1)  # windows
        return max(0, -((self._next - complete * self._up) // self._down))

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take the next samples and return those that are ready, float32 (U,)."""
        samples = np.array(samples, np.float32)  # a copy: whoever records may use his buffer again
        if self._same:
            return samples
        self._pushed += len(samples)
        out = self._filter(samples)
        self._returned += len(out)
        return out

    def flush(self) -> np.ndarray:
        """Return the samples still held back, float32 (U,). The stream is over."""
        if self._same:
            return np.zeros(0, np.float32)
        total = (2 * self._pushed * self._up + self._down) // (2 * self._down)  # rounded
        return self._filter(np.zeros(self._ahead + 1, np.float32))[: total - self._returned]

    def _filter(self, samples: np.ndarray) -> np.ndarray:
        count = self.returns(len(samples))
        self._waiting = np.concatenate([self._waiting, samples])
        if not count:
            return np.zeros(0, np.float32)
        if self._native is not None:
            out = self._native.apply(self._waiting, count, self._next, self._down)
        else:
            # sliding_window_view gives the same, and takes a third of the time of all that a piece of 160 ms needs.
            size, taps = self._waiting.itemsize, self._filters.shape[1]
            complete = len(self._waiting) - taps + 1
            windows = np.ndarray((complete, taps), np.float32, self._waiting, strides=(size, size))
            out = np.empty(count, np.float32)
            (self._by_phase if self._up <= FEW_PHASES else self._by_block)(windows, out)
        self._next += count * self._down
        done = min(self._next // self._up, len(self._waiting))
        self._next -= done * self._up
        self._waiting = self._waiting[done:].copy()
        return out

    # einsum adds up each row in one order, whatever the number of rows; a matrix product does not.

    def _by_phase(self, windows: np.ndarray, out: np.ndarray) -> None:
        """Of each phase its windows, which stand at equal distances, so that none is copied."""
        for first in range(min(self._up, len(out))):
            start, phase = divmod(self._next + first * self._down, self._up)
            said = out[first :: self._up]
            np.einsum("ij,j->i", windows[start :: self._down][: len(said)], self._filters[phase], out=said)

    def _by_block(self, windows: np.ndarray, out: np.ndarray) -> None:
        """Copies of the windows and of their filters, as many at once as stay in the processor's cache."""
        rows = max(1, _BLOCK // windows.shape[1])
        for first in range(0, len(out), rows):
            count = min(rows, len(out) - first)
            start, phase = np.divmod(self._next + np.arange(first, first + count) * self._down, self._up)
            np.einsum("ij,ij->i", windows[start], self._phases(phase), out=out[first : first + rows])

    def _phases(self, phase: np.ndarray) -> np.ndarray:
        """The filters of output samples that lie phase / up after an input sample, (M,) → (M, taps)."""
        if self._up <= MAX_PHASES:
            return self._filters[phase]
        index, part = np.divmod(phase * 256, self._up)
        low, high = self._filters[index], self._filters[index + 1]
        return low + (part / self._up).astype(np.float32)[:, None] * (high - low)


@lru_cache(maxsize=16)
def _filters(from_rate: int, to_rate: int) -> tuple[int, int, np.ndarray]:
    """Input samples before and after an output sample, and the filter of each phase: float32 (phases, taps)."""
    lower = min(from_rate, to_rate)
    ahead = min(max(AHEAD_SECONDS * lower, AHEAD_SAMPLES[0]), AHEAD_SAMPLES[1])
    scale = from_rate / lower
    before, after = int(PAST * ahead * scale + 1e-6), int(ahead * scale + 1e-6)
    up = to_rate // gcd(from_rate, to_rate)
    phases = np.arange(up) / up if up <= MAX_PHASES else np.arange(257) / 256
    times = (np.arange(-before, after + 1) - phases[:, None]) / scale
    filters = _impulse_response(times, ahead)
    filters /= filters.sum(axis=1, keepdims=True)  # a constant stays what it is
    return before, after, filters.astype(np.float32)


@lru_cache(maxsize=16)
def _native(from_rate: int, to_rate: int) -> Filters:
    return Filters(_filters(from_rate, to_rate)[2])


def _impulse_response(times: np.ndarray, ahead: float) -> np.ndarray:
    """The low-pass filter at ``times``, in samples of the lower rate, positive ones after the output sample."""
    length = (1 + PAST) * ahead
    place = np.clip((times + PAST * ahead) / length, 0, 1)
    inside = (times >= -PAST * ahead) & (times <= ahead)
    return np.where(inside, _window(place) * chebyshev.chebval(np.cos(np.pi * place), _design(ahead)), 0)


@lru_cache(maxsize=16)
def _design(ahead: float) -> np.ndarray:
    """Weights of cos(πku), u from 0 to 1 over the filter, by least squares: response 1 in the pass band, 0 in the stop band.

    A low-delay filter, longer before than after (Chen and Parks, Design of FIR filters in the complex domain, 1987). One of
    linear phase, as long before as after, needs twice the transition band (docs/measurements.md).
    """
    length = (1 + PAST) * ahead
    points = int(length * 8)
    place = (np.arange(points) + 0.5) / points
    basis = _window(place)[:, None] * np.cos(np.pi * np.outer(place, np.arange(int(length) + 8))) / 8
    passed = np.linspace(0, 0.5 - TRANSITION / ahead, int(2 * length))
    stopped = np.linspace(0.5, 1.5, int(4 * length))
    frequencies = np.concatenate([passed, stopped])  # cycles per sample of the lower rate
    response = np.exp(2j * np.pi * np.outer(frequencies, place * length - PAST * ahead)) @ basis
    wanted = (frequencies < 0.5).astype(float)
    weight = np.where(frequencies < 0.5, 1.0, STOP_WEIGHT)[:, None]
    equations = np.concatenate([response.real * weight, response.imag * weight])
    return np.linalg.lstsq(equations, np.concatenate([wanted, 0 * wanted]), rcond=1e-11)[0]


def _window(place: np.ndarray) -> np.ndarray:
    return np.i0(2 * np.sqrt(1 - (2 * place - 1) ** 2)) / np.i0(2)  # Kaiser's, a mild one: both ends fall
