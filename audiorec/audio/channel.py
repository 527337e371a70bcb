"""What lies between a speaker and a recogniser: a telephone's band, and codecs."""

import io
from typing import Literal

import numpy as np
import soundfile
import soxr

Codec = Literal["gsm", "ulaw", "opus"]
TELEPHONE = 300.0, 3400.0  # hertz
EDGE = 100.0  # hertz, over which the band ends
# Container, subtype and the rate that the codec works at.
CODECS: dict[Codec, tuple[str, str, int]] = {
    "gsm": ("WAV", "GSM610", 8000),
    "ulaw": ("WAV", "ULAW", 8000),
    "opus": ("OGG", "OPUS", 16000),
}


def telephone_band(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Samples (T,) without what lies outside 300 to 3400 Hz, float32 (T,)."""
    size = 1 << (len(samples) + sample_rate // 10).bit_length()
    frequencies = np.arange(size // 2 + 1) * (sample_rate / size)
    low, high = (np.clip((frequencies - edge) / EDGE + 0.5, 0, 1) for edge in TELEPHONE)
    curve = np.sin(np.pi / 2 * low) ** 2 - np.sin(np.pi / 2 * high) ** 2
    return np.fft.irfft(np.fft.rfft(samples, size) * curve, size)[: len(samples)].astype(np.float32)


def through_codec(samples: np.ndarray, sample_rate: int, codec: Codec) -> np.ndarray:
    """Samples (T,) encoded and decoded, float32 (T,): GSM full rate and G.711's μ-law at 8 kHz, Opus at 16 kHz."""
    form, subtype, rate = CODECS[codec]
    # What is louder than full scale would be clipped.
    peak = max(1.0, float(np.abs(samples).max(initial=0)))
    encoded = io.BytesIO()
    with soundfile.SoundFile(encoded, "w", rate, 1, subtype, format=form) as file:
        file.write(soxr.resample(samples / np.float32(peak), sample_rate, rate, quality="HQ"))
    encoded.seek(0)
    decoded = soundfile.read(encoded, dtype="float32")[0]
    heard = soxr.resample(decoded, rate, sample_rate, quality="HQ")[: len(samples)]
    return np.pad(heard, (0, len(samples) - len(heard))) * np.float32(peak)
