"""Every random draw of training is a function of (seed, epoch, utterance), so that a resumed run repeats itself."""

from hashlib import blake2b

import numpy as np


def seed_of(seed: int, epoch: int, name: str) -> int:
    """A 63-bit seed for one utterance (or any other named draw) of one epoch."""
    digest = blake2b(f"{seed} {epoch} {name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(seed: int, epoch: int, name: str) -> np.random.Generator:
    return np.random.default_rng(seed_of(seed, epoch, name))
