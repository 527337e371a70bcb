"""Audio files in and out as mono float32 in [-1, 1], whole or in blocks; one resampler for files and live audio."""

import mmap
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from audiorec.errors import UserError
from audiorec.files import replacing

PathLike = str | os.PathLike[str]

_WRITABLE = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}


@dataclass(frozen=True)
class Header:
    """What an audio file says of itself. frames is None where it says nothing (streamed flac, mp3 without a count)."""

    sample_rate: int
    channels: int
    frames: int | None


def header(path: PathLike) -> Header:
    """Look at a file without decoding it.

    Raises UserError for a missing file, a folder, what is no audio, no samples, and for a wav or ogg file cut short
    (a cut flac or mp3 file shows only when it is decoded).
    """
    with _open(Path(path)) as file:
        return Header(file.samplerate, file.channels, _promised_frames(Path(path), file))


def blocks(path: PathLike, seconds: float = 30.0) -> Iterator[tuple[np.ndarray, int]]:
    """Decode a file from its first sample to its last, in constant memory, never seeking.

    Yields (samples, sample rate): mono float32 (T,) of `seconds`, the last block shorter; channels are averaged.
    Raises UserError as `header` does, and when the file cannot be decoded to its end or holds NaN or infinity.
    """
    path = Path(path)
    with _open(path) as file:
        rate = file.samplerate
        promised = _promised_frames(path, file)
        buffer = np.empty((max(1, round(seconds * rate)), file.channels), np.float32)
        done = 0
        while True:
            try:
                frames = file.read(out=buffer)
            except soundfile.LibsndfileError as error:
                length = "" if promised is None else f" of the {promised / rate:.1f} s it promises"
                raise UserError(
                    f"{path}: cut short or damaged: cannot be decoded to the end{length}; fetch or convert it again"
                ) from error
            if not len(frames):
                break
            yield _finite(_average(frames), str(path), first=done), rate
            done += len(frames)
    if not done:
        raise UserError(f"{path}: holds no samples")
    # Some mp3 encoders count a frame or two too many.
    slack = rate // 10 if file.format == "MP3" else 0
    if promised is not None and done < promised - slack:
        raise UserError(
            f"{path}: cut short or damaged: holds {done / rate:.1f} s of the {promised / rate:.1f} s it promises; "
            "fetch or convert it again"
        )


def read(path: PathLike, sample_rate: int | None = None) -> tuple[np.ndarray, int]:
    """Read a whole file: mono float32 samples (T,), resampled to `sample_rate` (hertz) if given, and their rate.

    Raises UserError as `blocks` does.
    """
    pieces, resampler = [], None
    for samples, rate in blocks(path):
        if resampler is None:
            to_rate = rate if sample_rate is None else sample_rate
            resampler = Resampler(rate, to_rate)
        pieces.append(resampler.push(samples))
    assert resampler is not None  # a file without samples is refused
    return np.concatenate([*pieces, resampler.flush()]), to_rate


class Resampler:
    """Resample a stream of samples (T,), T ≥ 0 each time: any split of the input gives the same output, bit for bit.

    n samples in give n · to_rate / from_rate out, rounded, once flushed; the same samples where the rates agree.
    """

    def __init__(self, from_rate: int, to_rate: int):
        for rate in (from_rate, to_rate):
            if rate <= 0:
                raise UserError(f"sample rate {rate}: must be a positive number of hertz")
        self._stream = None if from_rate == to_rate else soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32")

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take the next samples and return those that are ready, float32 (U,)."""
        samples = np.array(samples, np.float32)  # a copy: whoever records may use his buffer again
        return samples if self._stream is None else self._stream.resample_chunk(samples)

    def flush(self) -> np.ndarray:
        """Return the samples still held back, float32 (U,). The stream is over."""
        nothing = np.zeros(0, np.float32)
        return nothing if self._stream is None else self._stream.resample_chunk(nothing, last=True)


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
        raise UserError(f"{path}: cannot be written as {subtype} at {sample_rate} Hz: {_reason(error)}") from error


def check(samples: np.ndarray, what: str) -> np.ndarray:
    """Return samples as float32 (T,), the same array where it is that already; `what` names them in errors.

    int16 and int32 are divided by 2^15 and 2^31; floats are taken as they are. Raises UserError for any other type or
    shape, and for NaN and infinity.
    """
    samples = np.asarray(samples)
    if samples.ndim != 1:
        raise UserError(
            f"{what}: samples of shape {samples.shape}, not (T,): average the channels, e.g. samples.mean(axis=1)"
        )
    if samples.dtype in (np.int16, np.int32):
        samples = samples / 2.0 ** (8 * samples.itemsize - 1)
    elif samples.dtype.kind != "f":
        raise UserError(f"{what}: {samples.dtype} samples: give floats in [-1, 1], int16 or int32")
    with np.errstate(over="ignore"):
        return _finite(samples.astype(np.float32, copy=False), what)


def _finite(samples: np.ndarray, what: str, first: int = 0) -> np.ndarray:
    finite = np.isfinite(samples)
    if not finite.all():
        bad = int(finite.argmin())
        raise UserError(f"{what}: sample {first + bad} is {samples[bad]}: mend or leave out this audio")
    return samples


def _average(frames: np.ndarray) -> np.ndarray:
    """(T, C) → (T,), a new array. Channel by channel: numpy's mean over a short last axis is many times slower."""
    total = frames[:, 0].copy()
    for channel in range(1, frames.shape[1]):
        total += frames[:, channel]
    return total / np.float32(frames.shape[1]) if frames.shape[1] > 1 else total


class _Sequential(soundfile.SoundFile):
    """soundfile seeks after every read of a file that can; Opus seeks are inexact, so no file can."""

    def seekable(self) -> bool:
        return False


def _open(path: Path) -> _Sequential:
    if not path.exists():
        raise UserError(f"{path}: no such file")
    if path.is_dir():
        raise UserError(f"{path}: a folder, not an audio file")
    if not os.access(path, os.R_OK):
        raise UserError(f"{path}: no permission to read it")
    if path.is_file() and not path.stat().st_size:
        raise UserError(f"{path}: an empty file")
    try:
        file = _Sequential(os.fspath(path))
        if file.frames == 0 and file.format in ("WAV", "WAVEX"):
            file = _unsized_wav(path) or file
    except soundfile.LibsndfileError as error:
        raise UserError(
            f"{path}: not readable as audio ({_reason(error)}): convert it to wav, flac, ogg, opus or mp3"
        ) from error
    if file.frames == 0:
        raise UserError(f"{path}: holds no samples")
    if _cut_ogg(path) if file.format == "OGG" else _cut_chunk(file.extra_info):
        raise UserError(f"{path}: cut short: the end of the file is missing; fetch it again")
    return file


def _reason(error: Exception) -> str:
    return str(getattr(error, "error_string", error)).strip().rstrip(".") or "damaged"


def _unsized_wav(path: Path) -> _Sequential | None:
    """Open a wav whose writer, a pipe, could not go back and left a data size of 0: the data run to the file's end."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    start = view.find(b"data" + bytes(4), 12, 4096) + 8
    size = min(len(view) - start, 2**32 - 1)
    if start < 8 or size <= 0 or int.from_bytes(view[4:8], "little") + 8 == len(view):
        return None  # truly empty
    view[start - 4 : start] = size.to_bytes(4, "little")
    return _Sequential(view)


def _cut_chunk(log: str) -> bool:
    """Whether libsndfile's account of a header (wav, aiff, w64, rf64) notes that it promises more bytes than follow."""
    found = re.search(r"^ *(?:data|SSND|riff|Riff size) : (\d+) \(should be (\d+)\)", log, re.MULTILINE)
    if found is None:
        return False
    promised, present = int(found[1]), int(found[2])
    # Who writes to a pipe does not know the length and promises 2 or 4 GiB, less a little.
    piped = any(limit - 8192 <= promised <= limit for limit in (2**31, 2**32))
    return promised > present and not piped


def _cut_ogg(path: Path) -> bool:
    """Whether the last page is torn, or lacks the mark that ends a stream."""
    if not path.is_file():
        return False
    largest = 27 + 255 + 255 * 255
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2 * largest))
        tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return True
    return not page[5] & 4 or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])


def _promised_frames(path: Path, file: soundfile.SoundFile) -> int | None:
    unknown = file.frames >= 2**62 or (file.format == "MP3" and not _counted_mp3(path))
    return None if unknown else file.frames


def _counted_mp3(path: Path) -> bool:
    """Whether the first mp3 frame holds Xing's frame count; without one, libsndfile's length is a guess."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(10)
        tag = 10 + sum(byte << shift for byte, shift in zip(start[6:], (21, 14, 7, 0), strict=True))
        file.seek(tag if start.startswith(b"ID3") else 0)
        found = re.search(rb"(?:Xing|Info)...(.)", file.read(256), re.DOTALL)
    return found is not None and bool(found[1][0] & 1)
