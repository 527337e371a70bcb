"""Rooms: speech as a room gives it back, by a recorded impulse response or one of the image method."""

import numpy as np

SOUND = 343.0  # metres a second
SIZES = (3.0, 3.0, 2.4), (10.0, 8.0, 4.0)  # metres, of the smallest and the largest room drawn
LOWEST = 80.0  # hertz; below, images add up as no room's walls let them
WALL = 0.5  # metres between a wall and whoever speaks or hears


def reverberate(samples: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Samples (T,) in the room of an impulse response: (T,) of the same root mean square, float32. The direct sound stays in its
    place, as in Kaldi, so that words keep their times; what sounds after the end is cut off."""
    size = 1 << (len(samples) + len(response) - 1).bit_length()
    start = int(np.abs(response).argmax())
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(response, size), size)[start : start + len(samples)]
    before, after = (float(np.sqrt(np.mean(np.square(row, dtype=np.float64)))) for row in (samples, wet))
    return (wet * (before / max(after, 1e-9))).astype(np.float32)


def draw_room(sample_rate: int, seconds: float, random: np.random.Generator) -> np.ndarray:
    """The impulse response (T,) of a drawn room that takes about ``seconds`` to fall by 60 dB; places in it are drawn too."""
    size = random.uniform(*SIZES)
    speaker, microphone = (random.uniform(WALL, size - WALL) for _ in range(2))
    return _high_pass(image_method(size, speaker, microphone, seconds, sample_rate), sample_rate)


def image_method(
    size: np.ndarray, speaker: np.ndarray, microphone: np.ndarray, seconds: float, sample_rate: int
) -> np.ndarray:
    """The impulse response (T,) from one place to another, (3,) in metres, in a box of walls alike (Allen and Berkley 1979).

    The walls take as much as lets sound fall by 60 dB in ``seconds``, by Eyring's formula, and the response is as long; a box
    falls somewhat slower than that formula has it. An image counts at the sample next to its delay.
    """
    x, y, z = size
    surface, volume = 2 * (x * y + y * z + x * z), x * y * z
    absorbed = 1 - np.exp(-24 * np.log(10) * volume / (SOUND * surface * seconds))
    reach = SOUND * seconds
    axes = [_images(*axis, reach) for axis in zip(size, speaker, microphone, strict=True)]
    response = np.zeros(int(seconds * sample_rate) + 2)
    (dx, nx), (dy, ny), (dz, nz) = axes
    across = dy[:, None] ** 2 + dz**2
    losses = ny[:, None] + nz
    for distance, walls in zip(dx, nx, strict=True):
        square = distance**2 + across
        near = square < reach**2
        path = np.sqrt(square[near])
        gain = (1 - absorbed) ** ((walls + losses[near]) / 2) / np.maximum(path, 0.1)
        response += np.bincount(np.rint(path * (sample_rate / SOUND)).astype(int), gain, len(response))
    return response


def _high_pass(response: np.ndarray, sample_rate: int) -> np.ndarray:
    size = 1 << (2 * len(response)).bit_length()
    hertz = np.fft.rfftfreq(size, 1 / sample_rate)
    curve = 1 / (1 + (LOWEST / np.maximum(hertz, 1e-3)) ** 4)
    return np.fft.irfft(np.fft.rfft(response, size) * curve, size)[: len(response)]


def _images(size: float, speaker: float, microphone: float, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Along an axis: the distance of each image of the speaker, and the walls that its sound meets."""
    rooms = np.arange(-int(reach / (2 * size)) - 1, int(reach / (2 * size)) + 2)
    straight, mirrored = 2 * rooms * size + speaker, 2 * rooms * size - speaker
    distances = np.concatenate([straight, mirrored]) - microphone
    walls = np.concatenate([np.abs(2 * rooms), np.abs(2 * rooms - 1)])
    return distances[np.abs(distances) < reach], walls[np.abs(distances) < reach]
