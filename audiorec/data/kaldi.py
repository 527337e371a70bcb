"""Kaldi data directories, in and out: wav.scp, text, utt2spk, and segments, reco2file_and_channel where there are any; labels
beside them, which are our own."""

import os
import re
import shutil
from collections import OrderedDict
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import numpy as np

from audiorec.audio.read import PathLike, header, read
from audiorec.data.labels import LABELS, labels_table
from audiorec.data.scan import OVERSHOOT, scan, split_member
from audiorec.data.shared import SharedSamples
from audiorec.data.tables import FILES
from audiorec.data.tar import Archives, Member
from audiorec.data.utterance import Audio, Pipe, Utterance, source
from audiorec.errors import UserError

__all__ = ["OVERSHOOT", "Recordings", "Utterance", "read_data_dir", "write_data_dir"]

# Of these a segment is read alone; of others it is cut from the recording, which is kept.
SEEKABLE = {".wav", ".flac", ".aiff", ".aif"}


def read_data_dir(
    path: PathLike, require_text: bool = True, allow_empty_text: bool = False, allow_pipes: bool = False
) -> list[Utterance]:
    """Read a data directory without looking at its audio; utterances come in the order of its files, sorted by id.

    A relative path in wav.scp is relative to the directory, or else to the working directory; one that ends in ``.tar:OFFSET``
    is the file whose bytes begin there in the tar file. Without segments each recording is one utterance; without utt2spk each
    utterance has its own speaker; without text, which is allowed where require_text is False, texts are empty. Where
    reco2file_and_channel is there, it names each recording's channel; else the channels of a file are averaged; a fifth field
    in segments does so for an utterance. With allow_empty_text a line of text may hold an id alone: a recording without a word.
    With allow_pipes a recording may be a command, which runs when its audio is read. Raises UserError naming the first problem.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    scanned = scan(folder, require_text, allow_empty_text, allow_pipes)
    if scanned.problems:
        raise UserError(f"{folder}/{scanned.problems[0]} (all problems: `audiorec data validate {folder}`)")
    return scanned.utterances


def write_data_dir(path: PathLike, utterances: Iterable[Utterance]) -> None:
    """Write a data directory, sorted; segments only if some utterance is part of a recording, text and labels only if one has
    any. Channels stand in reco2file_and_channel, or in segments where a recording's utterances have several.

    Paths of audio inside the directory are written relative to it, others absolute; times are rounded to 1 µs. A
    directory that is there already keeps its other files. Raises UserError for what could not be read back, and where
    the place cannot be written.
    """
    folder = Path(os.path.abspath(path))
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{path}: a file, so no data directory can be written there")
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        for name, lines in _tables(folder, utterances).items():
            text = "".join(f"{key} {rest}".rstrip() + "\n" for key, rest in sorted(lines.items()))
            (part / name).write_bytes(text.encode())
        problems = scan(part, require_text=False, allow_pipes=True).problems
        if problems:
            raise UserError(f"{folder}/{problems[0]}")
        if not folder.exists():
            part.rename(folder)
            return
        for name in FILES:
            (folder / name).unlink(missing_ok=True)
        for name in reversed(FILES):  # wav.scp went first and comes last: half a directory is never read as whole
            if (part / name).exists():
                os.replace(part / name, folder / name)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


class Recordings:
    """The audio of utterances. A cache of max_bytes holds what was used last, one recording or segment whatever its size.

    With ``shared`` this process and its workers have one cache, and the own one holds a single recording or segment.
    """

    def __init__(self, max_bytes: int = 10**9, shared: bool = False):
        self.max_bytes = 0 if shared else max_bytes
        self._shared = SharedSamples(max_bytes) if shared else None
        self._archives = Archives()
        self._cache: OrderedDict[tuple, np.ndarray] = OrderedDict()
        self._bytes = 0

    def samples(self, utterance: Utterance, sample_rate: int) -> np.ndarray:
        """Return an utterance as float32 mono (T,), the caller's own.

        They are those of the whole recording, decoded and resampled, from round(start · rate) to round(end · rate). Raises
        UserError for bad audio, a command that fails, and a segment that is not within its recording.
        """
        path, channel = utterance.path, utterance.channel
        start = round(utterance.start * sample_rate)
        end = None if utterance.end is None else round(utterance.end * sample_rate)
        alone = start >= 0 and isinstance(path, Path) and path.suffix.lower() in SEEKABLE
        try:
            if alone:
                samples, wanted = self.decoded(path, sample_rate, channel, start, end), slice(None)
            else:
                samples, wanted = self.decoded(path, sample_rate, channel), slice(start, end)
        except UserError as error:
            if not isinstance(path, Path):
                raise UserError(f"recording {utterance.recording!r}: {error}") from error
            raise
        found = samples[wanted].copy()
        if start < 0 or not len(found) or (end is not None and len(found) < end - start - OVERSHOOT * sample_rate):
            length = len(self.decoded(path, sample_rate, channel))
            end = length if end is None else end
            raise UserError(
                f"{path}: utterance {utterance.id!r}, {start / sample_rate:g} to {end / sample_rate:g} s, "
                f"is not within the recording's {length / sample_rate:.3f} s: mend the segment"
            )
        return found

    def decoded(
        self, path: Audio, rate: int, channel: int | None = None, start: int = 0, end: int | None = None
    ) -> np.ndarray:
        """A recording, or its samples from ``start`` to ``end`` of the rate, as float32 mono (T,): not to be written to."""
        key = path, channel, rate, start, end
        if key not in self._cache:
            samples = self._shared.get(key) if self._shared else None
            if samples is None:
                samples = self._decode(path, rate, channel, start, end)
                if self._shared:
                    self._shared.put(key, samples)
            self._cache[key] = samples
            self._bytes += samples.nbytes
            while self._bytes > self.max_bytes and len(self._cache) > 1:
                self._bytes -= self._cache.popitem(last=False)[1].nbytes
        self._cache.move_to_end(key)
        return self._cache[key]

    def _decode(self, path: Audio, rate: int, channel: int | None, start: int, end: int | None) -> np.ndarray:
        audio = source(path, self._archives)
        # As in Kaldi a file of one channel is the channel that was extracted into it, whatever its name.
        if channel is not None and header(audio).channels == 1:
            channel = None
        if isinstance(audio, BytesIO):
            audio.seek(0)
        return read(audio, rate, start=start, end=end, channel=channel)[0]


def _tables(folder: Path, utterances: Iterable[Utterance]) -> dict[str, dict[str, str]]:
    tables: dict[str, dict[str, str]] = {name: {} for name in ("wav.scp", "segments", "text", "utt2spk")}
    channels: dict[str, set[int | None]] = {}
    whole, utterances = True, list(utterances)
    for utterance in utterances:
        for value in (utterance.id, utterance.recording, utterance.speaker):
            if not re.fullmatch(r"\S+", value):
                raise UserError(f"{folder}: utterance {utterance.id!r}: {value!r} is empty or has spaces, so no id")
        if utterance.id in tables["text"]:
            raise UserError(f"{folder}: utterance {utterance.id!r} appears twice")
        audio = _audio(folder, utterance.path)
        if tables["wav.scp"].setdefault(utterance.recording, audio) != audio:
            raise UserError(f"{folder}: recording {utterance.recording!r} is two files: {audio} and another")
        channels.setdefault(utterance.recording, set()).add(utterance.channel)
        end = "-1" if utterance.end is None else f"{utterance.end:.6f}"
        tables["segments"][utterance.id] = f"{utterance.recording} {utterance.start:.6f} {end}"
        tables["text"][utterance.id] = " ".join(utterance.text.split())
        tables["utt2spk"][utterance.id] = utterance.speaker
        whole &= (utterance.recording, utterance.start, utterance.end) == (utterance.id, 0, None)
    if all(len(sides) == 1 and None not in sides for sides in channels.values()):
        tables["reco2file_and_channel"] = {
            recording: f"{_stem(tables['wav.scp'][recording])} {_side(channel)}"
            for recording, (channel,) in channels.items()
            if channel is not None
        }
    elif any(utterance.channel is not None for utterance in utterances):
        whole = False
        for utterance in utterances:
            if utterance.channel is not None:
                tables["segments"][utterance.id] += f" {utterance.channel}"
    if whole:
        del tables["segments"]
    if not any(tables["text"].values()):
        del tables["text"]
    tables[LABELS] = labels_table(utterances)
    return {name: table for name, table in tables.items() if table or name not in ("reco2file_and_channel", LABELS)}


def _audio(folder: Path, path: Audio) -> str:
    """A path as wav.scp has it: relative where it lies inside the folder."""
    if isinstance(path, Pipe):
        return str(path)
    if isinstance(path, Member):
        return f"{_audio(folder, path.archive)}:{path.offset}"
    absolute = Path(os.path.abspath(path))
    audio = str(absolute.relative_to(folder) if absolute.is_relative_to(folder) else absolute)
    if audio.endswith("|"):
        raise UserError(f"{folder}: {audio}: a file whose name ends in | would read as a command: give it another name")
    if split_member(audio):
        raise UserError(f"{folder}: {audio}: would read as a part of a tar file: give it another name")
    return audio


def _stem(audio: str) -> str:
    return re.sub(r"\s", "_", Path(audio).stem)


def _side(channel: int) -> str:
    return chr(ord("A") + channel) if channel < 26 else str(channel + 1)
