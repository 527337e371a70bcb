"""Bytes of audio as clients send them: 16-bit and float samples, and the two telephone codes of 8 bits."""

import numpy as np

from audiorec.serving.refusal import Refused


def _mulaw() -> np.ndarray:
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    size = (((code & 0x0F) << 3) + 0x84 << (code >> 4 & 7)) - 0x84
    return np.where(code & 0x80, -size, size).astype(np.int16)


def _alaw() -> np.ndarray:
    code = np.arange(256, dtype=np.int32) ^ 0x55
    exponent, mantissa = code >> 4 & 7, (code & 0x0F) << 4
    size = np.where(exponent == 0, mantissa + 8, mantissa + 0x108 << np.maximum(exponent - 1, 0))
    return np.where(code & 0x80, size, -size).astype(np.int16)


TABLES = {"mulaw": _mulaw(), "alaw": _alaw()}
TYPES = {"int16": "<i2", "float32": "<f4", **dict.fromkeys(TABLES, "u1")}


class Decoder:
    """Bytes in pieces of any size → samples (T,). A sample that is cut waits for its rest."""

    def __init__(self, encoding: str):
        if encoding not in TYPES:
            raise Refused("bad_request", f"encoding: {encoding!r} is not known; send {', '.join(TYPES)}")
        self.type = np.dtype(TYPES[encoding])
        self.table = TABLES.get(encoding)
        self._rest = b""

    def __call__(self, data: bytes) -> np.ndarray:
        if self._rest:
            data = self._rest + data
        whole = len(data) // self.type.itemsize
        self._rest = data[whole * self.type.itemsize :]
        samples = np.frombuffer(data, self.type, whole)
        return samples if self.table is None else self.table[samples]
