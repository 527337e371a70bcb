"""Training augmentation of samples: level, speed, rooms, noise, gain, telephone. Every draw comes from the generator given."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import soxr
from pydantic import Field, PositiveInt

from audiorec.audio.channel import Codec, telephone_band, through_codec
from audiorec.audio.rooms import reverberate
from audiorec.config import Config

Range = tuple[float, float]
FILTER_POINTS = 9
ENVELOPE_SECONDS = 0.05  # between two gains
LEVEL = 0.05  # root mean square of a clip before the random gain; −26 dB of full scale


# Draws what augmentation takes from recordings: so many samples (n,) of noise, or an impulse response.
Draw = Callable[[int, np.random.Generator], np.ndarray]
MIXED = "babble", "noise", "music"  # what is added to speech, in this order


class MixConfig(Config):
    """Recordings that are added to speech."""

    files: list[str] = Field(min_length=1, description="patterns of audio files under augment.recordings")
    snr_db: Range = Field((5.0, 20.0), description="speech to noise, drawn evenly")
    probability: float = Field(0.3, ge=0, le=1, description="share of utterances that get it")


class BabbleConfig(Config):
    """Utterances of the training data, spoken at once."""

    voices: tuple[PositiveInt, PositiveInt] = Field((3, 7), description="how many, drawn evenly")
    snr_db: Range = Field((10.0, 20.0), description="speech to babble, drawn evenly")
    probability: float = Field(0.3, ge=0, le=1, description="share of utterances that get it")


class RoomConfig(Config):
    """Rooms: impulse responses from files, and such of drawn rooms by the image method."""

    files: list[str] = Field([], description="patterns of impulse responses under augment.recordings")
    simulated: float = Field(0.5, ge=0, le=1, description="share of drawn rooms; all where there are no files")
    seconds: Range = Field((0.15, 0.5), description="time in which a drawn room falls by 60 dB, drawn evenly")
    probability: float = Field(0.3, ge=0, le=1, description="share of utterances spoken in one")


class AugmentConfig(Config):
    """Random changes of an utterance in training; each is off unless its key is set."""

    level: bool = Field(False, description="scale every clip to one level first")
    speed: Range | None = Field(None, description="factor, drawn evenly: 1.1 is a tenth faster and higher")
    filter_db: float = Field(0.0, ge=0, description="largest gain or loss of a random smooth filter, decibels")
    envelope_db: float = Field(0.0, ge=0, description="largest gain or loss of a random envelope, decibels")
    gain_db: Range | None = Field(None, description="decibels, drawn evenly")
    noise_snr_db: Range | None = Field(None, description="signal to noise of added noise, drawn evenly")
    noise_probability: float = Field(0.5, ge=0, le=1, description="share of utterances that get it")
    recordings: Path = Field(
        Path("noise"), description="folder of noise, music and rooms, or the name of a corpus under $AUDIOREC_DATA"
    )
    noise: MixConfig | None = Field(None, description="recorded noise")
    music: MixConfig | None = Field(None, description="recorded music")
    babble: BabbleConfig | None = Field(None, description="other utterances of the training data")
    room: RoomConfig | None = Field(None, description="reverberation")
    telephone_probability: float = Field(0.0, ge=0, le=1, description="share of utterances cut to 300 to 3400 Hz")
    codecs: list[Codec] = Field(["gsm", "ulaw", "opus"], min_length=1, description="one of them is drawn")
    codec_probability: float = Field(0.0, ge=0, le=1, description="share of utterances that go through a codec")


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


def augment(
    samples: np.ndarray,
    sample_rate: int,
    config: AugmentConfig,
    random: np.random.Generator,
    draws: Mapping[str, Draw] | None = None,
) -> np.ndarray:
    """The changes of a whole string: samples (T,) → (T',), float32; speed alone makes T' differ from T.

    ``draws`` has an entry for each of ``config``'s room, babble, noise and music.
    """
    draws = draws or {}
    if config.speed:
        samples = change_speed(samples, random.uniform(*config.speed), sample_rate)
    if config.room and random.random() < config.room.probability:
        samples = reverberate(samples, draws["room"](len(samples), random))
    for kind in MIXED:
        options = getattr(config, kind)
        if options and random.random() < options.probability:
            samples = mix(samples, draws[kind](len(samples), random), random.uniform(*options.snr_db))
    if config.noise_snr_db and random.random() < config.noise_probability:
        samples = add_noise(samples, random.uniform(*config.noise_snr_db), random)
    if config.gain_db:
        samples = samples * np.float32(10 ** (random.uniform(*config.gain_db) / 20))
    if config.telephone_probability and random.random() < config.telephone_probability:
        samples = telephone_band(samples, sample_rate)
    if config.codec_probability and random.random() < config.codec_probability:
        samples = through_codec(samples, sample_rate, config.codecs[random.integers(len(config.codecs))])
    return samples


def mix(samples: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """Add noise (T,) to samples (T,); the ratio is that of both whole powers. Noise without a sound adds nothing."""
    level = _rms(noise)
    return samples + noise * np.float32(_rms(samples) / level * 10 ** (-snr_db / 20)) if level else samples


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
