"""``Queue``: samples that wait until there are enough of them for a step."""

from collections import deque

import numpy as np


class Queue:
    """Samples that wait, in order."""

    def __init__(self) -> None:
        self._pieces: deque[np.ndarray] = deque()
        self.size = 0

    def push(self, samples: np.ndarray) -> None:
        """Add samples (T,) at the end."""
        self._pieces.append(samples)
        self.size += len(samples)

    def pop(self, count: int) -> np.ndarray:
        """Take the first ``count`` samples, which must be in the queue."""
        parts, missing = [np.zeros(0, np.float32)], count
        while missing:
            piece = self._pieces.popleft()
            if len(piece) > missing:
                self._pieces.appendleft(piece[missing:])
            parts.append(piece[:missing])
            missing -= len(parts[-1])
        self.size -= count
        return np.concatenate(parts)
