"""Audio files in and out as mono float32 in [-1, 1], whole or in blocks."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from audiorec.audio.file import AudioFile, PathLike, Source, open_audio, reason
from audiorec.audio.resample import Resampler
from audiorec.errors import UserError
from audiorec.files import replacing

_WRITABLE = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}

LOUDEST = 10.0  # floats beyond are no samples in [-1, 1] that a filter or a resampler made a little louder

logger = logging.getLogger("audiorec")


@dataclass(frozen=True)
class Header:
    """What an audio file says of itself. frames is None where it says nothing (streamed flac, mp3 without a count)."""

    sample_rate: int
    channels: int
    frames: int | None


def header(source: Source, *, accept_truncated: bool = False) -> Header:
    """Look at a file, or a binary file object, without decoding it.

    Raises UserError for a missing file, a folder, what is no audio, no samples, a rate outside RATES, and for a file whose
    data are shorter than its header promises (a cut flac or mp3 file may show only when it is decoded); those pass with
    ``accept_truncated``, and ``frames`` counts the data.
    """
    with open_audio(source, accept_truncated) as audio:
        return Header(audio.sample_rate, audio.channels, audio.frames)


def blocks(
    source: Source, seconds: float = 30.0, *, channel: int | None = None, accept_truncated: bool = False
) -> Iterator[tuple[np.ndarray, int]]:
    """Decode a file, or a binary file object, from its first sample to its last, in constant memory.

    Yields (samples, sample rate): mono float32 (T,) of ``seconds``, the last block shorter. Channels are averaged, unless
    ``channel`` (0 is the first) names one. Raises UserError as `header` does, for a channel that the file has not, and when
    the file cannot be decoded to its end or holds NaN or infinity. With ``accept_truncated`` a file that is cut short is
    decoded as far as it goes, and the logger ``audiorec`` warns.
    """
    with open_audio(source, accept_truncated) as audio:
        for samples in _mono(audio, seconds, channel):
            yield samples, audio.sample_rate


def read(
    source: Source,
    sample_rate: int | None = None,
    *,
    start: int = 0,
    end: int | None = None,
    channel: int | None = None,
    accept_truncated: bool = False,
) -> tuple[np.ndarray, int]:
    """Read a file: mono float32 samples (T,), resampled to `sample_rate` (hertz) if given, and their rate.

    ``start`` and ``end`` cut as a slice does, in samples of the rate returned: what lies before is not decoded where seeking is
    exact (wav, flac, aiff), and what lies after nowhere. The other arguments and errors are those of `blocks`.
    """
    with open_audio(source, accept_truncated) as audio:
        rate = audio.sample_rate if sample_rate is None else sample_rate
        resampler = Resampler(audio.sample_rate, rate)
        first, last, before = resampler.reach(start, end)
        audio.skip(first)
        pieces = [resampler.push(samples) for samples in _mono(audio, channel=channel, first=first, last=last)]
    samples = np.concatenate([*pieces, resampler.flush()])
    return samples[before : None if end is None else before + max(0, end - start)], rate


def _mono(
    audio: AudioFile, seconds: float = 30.0, channel: int | None = None, first: int = 0, last: int | None = None
) -> Iterator[np.ndarray]:
    """Samples (T,) of ``seconds`` each, from the frame ``first``, where the file stands, up to the frame ``last``."""
    if channel is not None and not 0 <= channel < audio.channels:
        raise UserError(f"{audio.name}: has {audio.channels} channel(s), so no channel {channel} (0 is the first)")
    size = max(1, round(seconds * audio.sample_rate))
    done, missing = first, 0
    while not missing:
        wanted = size if last is None else min(size, last - done)
        pieces, missing = [], wanted
        while missing and len(frames := audio.read(missing)):
            pieces.append(_average(frames) if channel is None else frames[:, channel].copy())
            missing -= len(frames)
        if not pieces:
            return
        samples = np.concatenate(pieces)
        yield _plausible(samples, audio.name, done)
        done += len(samples)


def write(path: PathLike, samples: np.ndarray, sample_rate: int) -> None:
    """Write mono samples (T,) in the format of the suffix: 16-bit wav or flac, ogg (Vorbis), opus or mp3.

    The file appears whole or not at all. What lies outside [-1, 1] is clipped. Raises UserError for samples that
    `check` refuses, for none at all, for an unknown suffix and where the format or the place does not take them.
    """
    path = Path(path)
    if path.suffix.lower() not in _WRITABLE:
        raise UserError(f"{path}: unknown audio suffix {path.suffix!r}: choose from {', '.join(_WRITABLE)}")
    samples = check(samples, str(path))
    if not len(samples):
        raise UserError(f"{path}: no samples to write")
    kind, subtype = _WRITABLE[path.suffix.lower()]
    try:
        with replacing(path) as aside, soundfile.SoundFile(aside, "w", sample_rate, 1, subtype, format=kind) as file:
            for start in range(0, len(samples), sample_rate):  # libvorbis overflows its stack on one long write
                file.write(samples[start : start + sample_rate])
    except (soundfile.LibsndfileError, OSError) as error:
        raise UserError(f"{path}: cannot be written as {subtype} at {sample_rate} Hz: {reason(error)}") from error


def check(samples: np.ndarray, name: str) -> np.ndarray:
    """Return samples as float32 (T,), the same array where it is that already; ``name`` stands for them in messages.

    int16 and int32 are divided by 2^15 and 2^31; floats are taken as they are, and the logger ``audiorec`` warns once of
    those far outside [-1, 1]. Raises UserError for any other type or shape, and for NaN and infinity.
    """
    samples = np.asarray(samples)
    if samples.ndim != 1:
        raise UserError(
            f"{name}: samples of shape {samples.shape}, not (T,): average the channels, e.g. samples.mean(axis=1)"
        )
    if samples.dtype in (np.int16, np.int32):
        samples = samples / 2.0 ** (8 * samples.itemsize - 1)
    elif samples.dtype.kind != "f":
        raise UserError(f"{name}: {samples.dtype} samples: give floats in [-1, 1], int16 or int32")
    with np.errstate(over="ignore"):
        return _plausible(samples.astype(np.float32, copy=False), name)


def _plausible(samples: np.ndarray, name: str, first: int = 0) -> np.ndarray:
    """The samples, the first of which is number ``first``; errors and warnings as in `check`."""
    if not len(samples) or (samples.max() <= LOUDEST and samples.min() >= -LOUDEST):  # neither holds where one is NaN
        return samples
    finite = np.isfinite(samples)
    if not finite.all():
        bad = int(finite.argmin())
        raise UserError(f"{name}: sample {first + bad} is {samples[bad]}: mend or leave out this audio")
    _warn_of_loudness(name, float(np.abs(samples).max()))
    return samples


_warned: set[str] = set()


def _warn_of_loudness(name: str, peak: float) -> None:
    if name not in _warned:
        _warned.add(name)
        logger.warning(
            "%s: samples reach %g, far outside [-1, 1]: if they are 16-bit values, divide them by 32768 or give int16",
            name,
            peak,
        )


def _average(frames: np.ndarray) -> np.ndarray:
    """(T, C) → (T,), a new array. Channel by channel: numpy's mean over a short last axis is many times slower."""
    total = frames[:, 0].copy()
    for channel in range(1, frames.shape[1]):
        total += frames[:, channel]
    return total / np.float32(frames.shape[1]) if frames.shape[1] > 1 else total
