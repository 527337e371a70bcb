"""Training augmentation of samples: level, speed, filter, noise and gain. Every draw comes from the generator given."""

import numpy as np
import soxr
from pydantic import Field

from audiorec.config import Config

Range = tuple[float, float]
FILTER_POINTS = 9
ENVELOPE_SECONDS = 0.05  # between two gains
LEVEL = 0.05  # root mean square of a clip before the random gain; −26 dB of full scale


class AugmentConfig(Config):
    """Random changes of an utterance in training; each is off unless its key is set."""

    level: bool = Field(False, description="scale every clip to one level first")
    speed: Range | None = Field(None, description="factor, drawn evenly: 1.1 is a tenth faster and higher")
    filter_db: float = Field(0.0, ge=0, description="largest gain or loss of a random smooth filter, decibels")
    envelope_db: float = Field(0.0, ge=0, description="largest gain or loss of a random envelope, decibels")
    gain_db: Range | None = Field(None, description="decibels, drawn evenly")
    noise_snr_db: Range | None = Field(None, description="signal to noise of added noise, drawn evenly")
    noise_probability: float = Field(0.5, ge=0, le=1, description="share of utterances that get noise")


def augment_clip(
    samples: np.ndarray, sample_rate: int, config: AugmentConfig, random: np.random.Generator
) -> np.ndarray:
    """The changes of one clip of a string, level, filter and envelope: samples (T,) → (T,), float32."""
    if config.level:
        samples = even_level(samples)
    if config.filter_db:
        samples = random_filter(samples, config.filter_db, random)
    if config.envelope_db:
        samples = random_envelope(samples, sample_rate, config.envelope_db, random)
    return samples


def augment(samples: np.ndarray, sample_rate: int, config: AugmentConfig, random: np.random.Generator) -> np.ndarray:
    """The changes of a whole string, speed, noise and gain: samples (T,) → (T',), float32; speed makes T' differ from T."""
    if config.speed:
        samples = change_speed(samples, random.uniform(*config.speed), sample_rate)
    if config.noise_snr_db and random.random() < config.noise_probability:
        samples = add_noise(samples, random.uniform(*config.noise_snr_db), random)
    if config.gain_db:
        samples = samples * np.float32(10 ** (random.uniform(*config.gain_db) / 20))
    return samples


def change_speed(samples: np.ndarray, factor: float, sample_rate: int) -> np.ndarray:
    """Play ``factor`` times as fast, pitch included."""
    # Resampling from a rate that is `factor` too high and reading the result at the true rate.
    return soxr.resample(samples, sample_rate * factor, sample_rate, quality="MQ")


def random_filter(samples: np.ndarray, max_db: float, random: np.random.Generator) -> np.ndarray:
    """Another microphone: gains drawn at a few frequencies, joined by straight lines (after FilterAugment, Nam et al. 2022)."""
    size = 1 << (len(samples) - 1).bit_length()
    frequencies = np.linspace(0, 1, size // 2 + 1) ** 0.5  # crowded to the low ones, as hearing is
    gains = random.uniform(-max_db, max_db, FILTER_POINTS)
    curve = 10 ** (np.interp(frequencies, np.linspace(0, 1, FILTER_POINTS), gains) / 20)
    return np.fft.irfft(np.fft.rfft(samples, size) * curve)[: len(samples)].astype(np.float32)


def random_envelope(samples: np.ndarray, sample_rate: int, max_db: float, random: np.random.Generator) -> np.ndarray:
    """Another stress of words: gains drawn at equal distances in time, joined by straight lines."""
    step = ENVELOPE_SECONDS * sample_rate
    gains = random.uniform(-max_db, max_db, 2 + int(len(samples) / step))
    curve = 10 ** (np.interp(np.arange(len(samples)) / step, np.arange(len(gains)), gains) / 20)
    return samples * curve.astype(np.float32)


def even_level(samples: np.ndarray) -> np.ndarray:
    """Scale the clip to the root mean square LEVEL; silence stays silence."""
    return samples * np.float32(LEVEL / max(_rms(samples), 1e-4))


def add_noise(samples: np.ndarray, snr_db: float, random: np.random.Generator) -> np.ndarray:
    """Add noise of a random colour between white and brown; the ratio is to the whole utterance's power."""
    noise = coloured_noise(len(samples), random.uniform(0, 2), random)
    return samples + noise * np.float32(_rms(samples) * 10 ** (-snr_db / 20))


def coloured_noise(size: int, exponent: float, random: np.random.Generator) -> np.ndarray:
    """Noise (size,) of root mean square 1 whose power falls as frequency to the ``exponent``: 0 white, 1 pink, 2 brown."""
    spectrum = np.fft.rfft(random.standard_normal(1 << (size - 1).bit_length(), dtype=np.float32))
    shape = np.maximum(np.arange(len(spectrum)), 1 + len(spectrum) // 200) ** (-exponent / 2)
    noise = np.fft.irfft(spectrum * shape)[:size].astype(np.float32)
    return noise / np.float32(max(_rms(noise), 1e-9))


def _rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples), dtype=np.float64))) if len(samples) else 0.0
