"""A polyphase FIR filter (csrc/resample.cpp) on numpy's arrays. Knows no torch."""

import ctypes

import numpy as np

from audiorec_kernels.library import LIBRARY, function

__all__ = ["LIBRARY", "Filters"]

_LANES, _CHAINS = 16, 4  # as in csrc/resample.cpp
_MOST = 4096  # outputs at once: what they need stays in the processor's cache
_POINTER, _INTEGER = ctypes.c_void_p, ctypes.c_int64
_ARGUMENTS = _POINTER, _INTEGER, _POINTER, _POINTER, *[_INTEGER] * 5, _POINTER, _INTEGER
_resample = None if LIBRARY is None else function("resample", _ARGUMENTS)


class Filters:
    """The filters (up, taps), float32, of as many phases."""

    def __init__(self, filters: np.ndarray):
        self.up, self.taps = filters.shape
        self._filters = np.ascontiguousarray(np.pad(filters, ((0, 0), (0, -self.taps % _CHAINS))), np.float32)

    def apply(self, x: np.ndarray, count: int, next: int, down: int) -> np.ndarray:
        """``count`` output samples of x (T,), contiguous float32: the i-th is the sum of the samples from (next + i · down) / up
        on, each times its tap of the filter of the rest. It is the same, bit for bit, whatever T and ``count`` are.

        Raises ValueError where x is too short, RuntimeError without the native library.
        """
        if _resample is None:
            raise RuntimeError("resample: the native library was not built")
        out = np.empty(count, np.float32)
        for at in range(0, count, _MOST):
            some, place = min(_MOST, count - at), next + at * down
            first = place // self.up
            size = (place % self.up + (some - 1) * down) // self.up + self.taps
            if first + size > len(x):
                raise ValueError(f"resample: {len(x)} samples are too few for {count}")
            width = (size + _CHAINS) // down + 1 + _LANES
            work = np.empty(down * width, np.float32)
            _resample(
                *(x.ctypes.data + 4 * first, size, self._filters.ctypes.data, out.ctypes.data + 4 * at, some),
                *(place % self.up, self.up, down, self._filters.shape[1], work.ctypes.data, width),
            )
        return out
