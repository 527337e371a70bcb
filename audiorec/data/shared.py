"""Decoded audio that several workers keep once, in a temporary file."""

import tempfile
from collections.abc import Hashable
from hashlib import blake2b
from pathlib import Path

import numpy as np
from filelock import FileLock

ENTRY = np.dtype([("key", "V16"), ("start", "i8"), ("length", "i8")])


class SharedSamples:
    """Samples by key, for this process and its workers, up to ``max_bytes``: what comes after is not kept.

    One file holds the samples, another an entry of each key. Both only grow, an entry after its samples, so a reader needs no
    lock. The operating system keeps them in memory while there is room.
    """

    def __init__(self, max_bytes: int):
        self.max_bytes = max_bytes
        self._home = tempfile.TemporaryDirectory(prefix="audiorec-")
        self._open(Path(self._home.name))

    def __getstate__(self) -> dict:  # of a worker that is spawned: the folder stays its owner's
        return {"max_bytes": self.max_bytes, "folder": self._samples.parent}

    def __setstate__(self, state: dict) -> None:
        self.max_bytes = state["max_bytes"]
        self._open(state["folder"])

    def _open(self, folder: Path) -> None:
        self._samples, self._index, self._lock = folder / "samples", folder / "index", folder / "lock"
        self._places: dict[bytes, tuple[int, int]] = {}
        for path in (self._samples, self._index):
            path.touch()

    def get(self, key: Hashable) -> np.ndarray | None:
        """The samples (T,) float32 of a key, or None."""
        digest = _digest(key)
        if digest not in self._places:
            self._read_index()
        place = self._places.get(digest)
        return None if place is None else np.fromfile(self._samples, np.float32, place[1], offset=4 * place[0])

    def put(self, key: Hashable, samples: np.ndarray) -> None:
        """Keep samples (T,) float32, unless another worker has, or they do not fit."""
        digest = _digest(key)
        with FileLock(self._lock):
            self._read_index()
            start = self._samples.stat().st_size // 4
            if digest in self._places or 4 * (start + len(samples)) > self.max_bytes:
                return
            with open(self._samples, "ab") as file:
                samples.astype(np.float32, copy=False).tofile(file)
            with open(self._index, "ab") as file:
                np.array([(digest, start, len(samples))], ENTRY).tofile(file)

    def _read_index(self) -> None:
        known = len(self._places)
        for key, start, length in np.fromfile(self._index, ENTRY, offset=known * ENTRY.itemsize):
            self._places[key.tobytes()] = int(start), int(length)


def _digest(key: Hashable) -> bytes:
    return blake2b(repr(key).encode(), digest_size=16).digest()
