"""How far resampling from 48 and 44.1 kHz changes log-mel energies of speech at 16 kHz: python tools/bench/resample.py FILE…

Each recording goes up by soxr VHQ and comes down by four filters; the differences are from the recording itself. The linear- and
minimum-phase filters are Kaiser's, 6 ms long and 12.5 ms long, computed at 48 kHz alone.
"""

import sys
import time
from pathlib import Path

import numpy as np
import soxr
import torch

from audiorec.audio.logmel import LogMel, LogMelConfig
from audiorec.audio.read import read
from audiorec.audio.resample import Resampler, _filters

RATE, EDGE = 16000, 20


def ours(samples: np.ndarray, rate: int) -> np.ndarray:
    resampler = Resampler(rate, RATE)
    return np.concatenate([resampler.push(samples), resampler.flush()])


def kaiser(seconds: float, rate: int = 48000, stop_db: float = 84.0) -> np.ndarray:
    half = round(seconds * rate / 2)
    cutoff = RATE / rate - (stop_db - 7.95) / 14.36 / (2 * half)
    filter_ = np.sinc(cutoff * np.arange(-half, half + 1)) * np.kaiser(2 * half + 1, 0.1102 * (stop_db - 8.7))
    return filter_ / filter_.sum()


def minimum_phase(linear: np.ndarray, size: int = 1 << 15) -> np.ndarray:
    """By the cepstrum (Oppenheim and Schafer)."""
    cepstrum = np.fft.ifft(np.log(np.maximum(np.abs(np.fft.fft(linear, size)), 3e-6))).real
    cepstrum[1 : size // 2] *= 2
    cepstrum[size // 2 + 1 :] = 0
    return np.fft.ifft(np.exp(np.fft.fft(cepstrum))).real[: len(linear)]


def down(filter_: np.ndarray, delay: int):
    return lambda samples, rate: np.convolve(samples, filter_)[delay : delay + len(samples) : 3].astype(np.float32)


def response(name: str, filter_: np.ndarray, delay: int) -> None:
    """Print edges of the pass band, the stop band's attenuation and delays of a filter at 48 kHz."""
    hertz = np.arange(24001.0)
    value = np.exp(-2j * np.pi * np.outer(hertz, np.arange(len(filter_)) - delay) / 48000) @ filter_
    db = 20 * np.log10(np.abs(value) / np.abs(value[0]))
    edge, half_power = np.argmax(np.abs(db) > 0.1), np.argmax(db < -3)
    delays = -np.gradient(np.unwrap(np.angle(value))) / (2 * np.pi) * 1e3
    print(
        f"| {name} | {edge} | {half_power} | {db[8000:].max():.1f} | {delays[1]:.3f}, {delays[edge - 1]:.3f} |", end=" "
    )
    print(f"{np.abs(np.angle(value[: edge - 1])).max():.4f} |")


def main(paths: list[Path]) -> None:
    linear, minimum = kaiser(0.006), minimum_phase(kaiser(0.0125))
    delay = round(float((minimum * np.arange(len(minimum))).sum()))  # group delay at 0 Hz
    ways = {
        "soxr HQ": lambda samples, rate: soxr.resample(samples, rate, RATE, quality="HQ"),
        "audiorec": ours,
        "linear phase, 3 ms": down(linear, len(linear) // 2),
        f"minimum phase, {delay / 48:.2f} ms": down(minimum, delay),
    }
    print("| filter | −0.1 dB, Hz | −3 dB, Hz | from 8 kHz on, dB | delay at 0 Hz, at −0.1 dB, ms | phase, rad |")
    print("|---|---:|---:|---:|---|---:|")
    response("linear phase", linear, len(linear) // 2)
    response("minimum phase", minimum, delay)
    _, ahead, (low_delay,) = _filters(48000, RATE)
    response("audiorec", low_delay[::-1].astype(float), ahead)
    if not paths:
        return
    module = LogMel(LogMelConfig(sample_rate=RATE, bins=80))
    print("| from, Hz | filter | bins 1–70 | 71–78 | 79 | 80 | × real time |\n|---|---|---:|---:|---:|---:|---:|")
    for rate in (48000, 44100):
        for name, way in ways.items():
            if "phase" in name and rate != 48000:
                continue
            errors, seconds, spent = [], 0.0, 0.0
            for path in paths:
                samples = read(path, RATE)[0]
                above = soxr.resample(samples, RATE, rate, quality="VHQ")
                start = time.perf_counter()
                back = way(above, rate)
                spent += time.perf_counter() - start
                seconds += len(samples) / RATE
                size = min(len(back), len(samples))
                mels = [
                    module(torch.from_numpy(np.ascontiguousarray(x[:size]))[None, :, None], torch.tensor([size]))[0][0]
                    for x in (samples, back)
                ]
                errors.append((mels[1] - mels[0])[EDGE:-EDGE].abs().numpy())
            error = np.concatenate(errors).mean(axis=0)
            columns = [error[:70].mean(), error[70:78].mean(), error[78], error[79]]
            print(
                f"| {rate} | {name} |", *(f"{value:.4f} |" for value in columns), f"{seconds / spent:.0f} |", flush=True
            )


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
