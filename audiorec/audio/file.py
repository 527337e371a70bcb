"""Open audio files and decode them piece by piece; what libsndfile takes silently, or cannot bear, is refused in one line."""

import io
import logging
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from audiorec.audio.truncation import View, cut_short, has_frame_count, sds_frames
from audiorec.errors import UserError

PathLike = str | os.PathLike[str]
Source = PathLike | BinaryIO

RATES = (1_000, 768_000)  # hertz; a header that says another is damaged
PIECE = 2**16  # samples of all channels that are decoded at once
FRAMES_PER_BYTE = 6_000  # no codec packs more (Opus: 120 ms of silence in 2 bytes)
# What libsndfile seeks in to the sample: each sample stands alone, or in a flac frame that does.
EXACT_FORMATS = {"WAV", "WAVEX", "RF64", "W64", "AIFF", "FLAC"}
EXACT_SUBTYPES = {"PCM_U8", "PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"}

logger = logging.getLogger("audiorec")


class NamedBytes(io.BytesIO):
    """Bytes of audio that are no file, with a name for messages."""

    def __init__(self, content: bytes, name: str):
        super().__init__(content)
        self.name = name


class AudioFile:
    """An open audio file. ``frames`` is their number by the header, None where the header does not say."""

    def __init__(self, file: soundfile.SoundFile, name: str, frames: int | None, accept_truncated: bool):
        self.name = name
        self.sample_rate: int = file.samplerate
        self.channels: int = file.channels
        self.frames = frames
        self._file = file
        self._accept_truncated = accept_truncated
        # All of a piece is lost where its decoding fails: pieces are small where damage is accepted.
        piece = (PIECE // 16 if accept_truncated else PIECE) // file.channels
        self._buffer = np.empty((max(1, piece), file.channels), np.float32)
        self._done = 0

    def skip(self, frames: int) -> None:
        """Go on after so many frames: by seeking where that is exact, else by decoding them. The first call alone."""
        exact = self._file.format in EXACT_FORMATS and self._file.subtype in EXACT_SUBTYPES
        if exact and self.frames is not None:
            self._done = min(frames, self.frames)
            try:
                self._file.seek(self._done)
            except soundfile.LibsndfileError:
                self._cut(f"frame {self._done} cannot be found")
            return
        while frames and (count := len(self.read(frames))):
            frames -= count

    def read(self, limit: int) -> np.ndarray:
        """The next frames (T, channels), 1 ≤ T ≤ limit, valid until the next call; T = 0 at the end.

        Raises UserError where the file cannot be decoded, or ends before its header says.
        """
        if self.frames is not None and self._accept_truncated:
            limit = min(limit, self.frames - self._done)
        try:
            frames = self._file.read(out=self._buffer[:limit]) if limit > 0 else self._buffer[:0]
        except soundfile.LibsndfileError:
            self._cut("cannot be decoded to the end")
            frames = self._buffer[:0]
        else:
            # Some mp3 encoders count a frame or two too many.
            slack = self.sample_rate // 10 if self._file.format == "MP3" else 0
            if not len(frames) and self.frames is not None and self._done < self.frames - slack:
                self._cut(f"holds {self._done / self.sample_rate:.1f} s")
        self._done += len(frames)
        if not self._done:
            raise UserError(f"{self.name}: holds no samples")
        return frames

    def _cut(self, what: str) -> None:
        length = "" if self.frames is None else f" of the {self.frames / self.sample_rate:.1f} s it promises"
        message = f"{self.name}: cut short or damaged: {what}{length}"
        if not self._accept_truncated:
            raise UserError(f"{message}; fetch or convert it again, or pass accept_truncated")
        logger.warning("%s; its first %.1f s are used", message, self._done / self.sample_rate)


@contextmanager
def open_audio(source: Source, accept_truncated: bool = False) -> Iterator[AudioFile]:
    """Open a path, or a binary file object, which is read to its end first.

    Raises UserError for what is no audio, for a rate outside RATES, and unless ``accept_truncated`` for a file whose data
    are shorter than its header promises.
    """
    name, view = _view(source)
    try:
        file = _Sequential(name if isinstance(view, mmap.mmap) else io.BytesIO(view))
        cut = cut_short(file, view)
        if file.frames == 0 and file.format in ("WAV", "WAVEX"):
            file = _unsized_wav(view) or file
    except soundfile.LibsndfileError as error:
        caf = _cut_caf(view)
        if caf is None:
            raise UserError(
                f"{name}: not readable as audio ({reason(error)}): convert it to wav, flac, ogg, opus or mp3"
            ) from error
        file, cut = caf, True
    with file:
        lowest, highest = RATES
        if not lowest <= file.samplerate <= highest:
            raise UserError(
                f"{name}: a sample rate of {file.samplerate} Hz, outside {lowest} to {highest} Hz: damaged; "
                "fetch or convert it again"
            )
        unknown = file.frames >= 2**62 or (file.format == "MP3" and (cut or not has_frame_count(view)))
        frames = None if unknown else sds_frames(file) if file.format == "SDS" else file.frames
        most = FRAMES_PER_BYTE * len(view)
        if cut or (frames or 0) > most:
            if not accept_truncated:
                raise UserError(
                    f"{name}: cut short: the end of the file is missing; fetch it again, or pass accept_truncated"
                )
            logger.warning("%s: cut short: the end of the file is missing; what is there is used", name)
            frames = None if frames is None else min(frames, most)
        if frames == 0:
            raise UserError(f"{name}: holds no samples")
        yield AudioFile(file, name, frames, accept_truncated)


class _Sequential(soundfile.SoundFile):
    """soundfile seeks after every read of a file that can; Opus seeks are inexact, so no file can."""

    def seekable(self) -> bool:
        return False


def _view(source: Source) -> tuple[str, View]:
    """The name of a source for messages, and its bytes: those of a regular file are mapped, not read."""
    if hasattr(source, "read"):
        name, view = str(getattr(source, "name", "file object")), source.read()
        if not isinstance(view, bytes):
            raise UserError(f"{name}: gives text, not bytes: open it in binary mode ('rb')")
        if not view:
            raise UserError(f"{name}: holds no bytes after its position; seek(0) to read it from its beginning")
        return name, view
    path = Path(source)
    if not path.exists():
        raise UserError(f"{path}: no such file")
    if path.is_dir():
        raise UserError(f"{path}: a folder, not an audio file")
    if not os.access(path, os.R_OK):
        raise UserError(f"{path}: no permission to read it")
    if path.is_fifo():
        view = path.read_bytes()
        if not view:
            raise UserError(f"{path}: an empty pipe")
        return str(path), view
    if not path.is_file():
        raise UserError(f"{path}: a device, not an audio file")
    if not path.stat().st_size:
        raise UserError(f"{path}: an empty file")
    with path.open("rb") as file:
        return str(path), mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)  # written to by _patched alone


def _unsized_wav(view: View) -> _Sequential | None:
    """Open a wav whose writer, a pipe, could not go back and left a data size of 0: the data run to the file's end."""
    start = view.find(b"data" + bytes(4), 12, 4096) + 8
    size = min(len(view) - start, 2**32 - 1)
    if start < 8 or size <= 0 or int.from_bytes(view[4:8], "little") + 8 == len(view):
        return None  # truly empty
    return _patched(view, start - 4, size.to_bytes(4, "little"))


def _cut_caf(view: View) -> _Sequential | None:
    """Open a caf file that libsndfile refuses because its data chunk runs past the file's end; None if it is not that."""
    start = view.find(b"data", 8, 2**16) + 12
    size = len(view) - start
    if view[:4] != b"caff" or start < 12 or not 0 < size < int.from_bytes(view[start - 8 : start], "big"):
        return None
    try:
        return _patched(view, start - 8, size.to_bytes(8, "big"))
    except soundfile.LibsndfileError:
        return None


def _patched(view: View, at: int, new: bytes) -> _Sequential:
    """The file with other bytes in one place; what is mapped from disk stays there, and is changed in memory alone."""
    if isinstance(view, bytes):
        return _Sequential(io.BytesIO(view[:at] + new + view[at + len(new) :]))
    view[at : at + len(new)] = new
    return _Sequential(view)


def reason(error: Exception) -> str:
    """libsndfile's words for an error, or any other's."""
    return str(getattr(error, "error_string", error)).strip().rstrip(".") or "damaged"
