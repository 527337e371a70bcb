"""Kaldi data directories, in and out: wav.scp, text, utt2spk and, if recordings are cut into utterances, segments."""

import math
import os
import re
import shutil
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from audiorec.audio.read import PathLike, read
from audiorec.errors import UserError

FILES = ("wav.scp", "segments", "text", "utt2spk")
OVERSHOOT = 0.1  # seconds by which a segment may end after its recording, as rounded times do

Table = dict[str, tuple[int, str]]  # key → its line number and the rest of that line


@dataclass(frozen=True)
class Utterance:
    """What one speaker says from start to end, in seconds, of a recording; end None is the recording's end."""

    id: str
    recording: str
    path: Path
    start: float
    end: float | None
    text: str
    speaker: str


@dataclass(frozen=True)
class Problem:
    """What is wrong in a line of a file of a data directory; line None is the file as a whole."""

    file: str
    line: int | None
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.message}" if self.line is None else f"{self.file}:{self.line}: {self.message}"


@dataclass
class Scan:
    """A data directory as far as it makes sense, audio unseen, and every problem met on the way."""

    tables: dict[str, Table] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)
    utterances: list[Utterance] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def report(self, file: str, line: int | None, message: str) -> None:
        self.problems.append(Problem(file, line, message))


def read_data_dir(path: PathLike, require_text: bool = True, allow_empty_text: bool = False) -> list[Utterance]:
    """Read a data directory without looking at its audio; utterances come in the order of its files, sorted by id.

    A relative path in wav.scp is relative to the directory, or else to the working directory. Without segments each
    recording is one utterance; without utt2spk each utterance has its own speaker; without text, which is allowed
    where require_text is False, texts are empty. With allow_empty_text a line of text may hold an id alone: a recording
    without a word. Raises UserError naming the first problem.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    found = scan(folder, require_text, allow_empty_text)
    if found.problems:
        raise UserError(f"{folder}/{found.problems[0]} (all problems: `audiorec data validate {folder}`)")
    return found.utterances


def write_data_dir(path: PathLike, utterances: Iterable[Utterance]) -> None:
    """Write a data directory, sorted; segments only if some utterance is part of a recording, text if one has any.

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
        problems = scan(part, require_text=False).problems
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
    """The audio of utterances. Keeps the recordings decoded last, up to max_bytes (and the very last in any case)."""

    def __init__(self, max_bytes: int = 10**9):
        self.max_bytes = max_bytes
        self._kept: OrderedDict[tuple[Path, int], np.ndarray] = OrderedDict()

    def samples(self, utterance: Utterance, sample_rate: int) -> np.ndarray:
        """Return an utterance as float32 mono (T,), the caller's own.

        The whole recording is decoded and resampled, then cut at round(start · rate) and round(end · rate). Raises
        UserError for bad audio and for a segment that is not within its recording.
        """
        recording = self._decoded(utterance.path, sample_rate)
        start = round(utterance.start * sample_rate)
        end = len(recording) if utterance.end is None else round(utterance.end * sample_rate)
        if not 0 <= start < min(end, len(recording)) or end > len(recording) + OVERSHOOT * sample_rate:
            raise UserError(
                f"{utterance.path}: utterance {utterance.id!r}, {start / sample_rate:g} to {end / sample_rate:g} s, "
                f"is not within the recording's {len(recording) / sample_rate:.3f} s: mend the segment"
            )
        return recording[start:end].copy()

    def _decoded(self, path: Path, sample_rate: int) -> np.ndarray:
        key = path, sample_rate
        if key not in self._kept:
            self._kept[key] = read(path, sample_rate)[0]
            size = sum(recording.nbytes for recording in self._kept.values())
            while size > self.max_bytes and len(self._kept) > 1:
                size -= self._kept.popitem(last=False)[1].nbytes
        self._kept.move_to_end(key)
        return self._kept[key]


def scan(folder: Path, require_text: bool = True, allow_empty_text: bool = False) -> Scan:
    """Read the files of a data directory, going on after each problem; problems are in the order of files and lines."""
    found = Scan()
    for name in FILES:
        if (folder / name).is_file():
            found.tables[name] = _read_table(folder / name, found)
        elif name == "wav.scp" or (name == "text" and require_text):
            found.report(name, None, "no such file")
    _place_recordings(folder, found)
    spans = _cut_segments(found) if "segments" in found.tables else {key: (key, 0.0, None) for key in found.paths}
    _match_utterances(found)
    texts, speakers = (found.tables.get(name, {}) for name in ("text", "utt2spk"))
    for key, (line, text) in texts.items():
        if require_text and not text and not allow_empty_text:
            found.report("text", line, f"utterance {key!r} has an empty transcript: fill it in or drop the utterance")
    for key, (line, speaker) in speakers.items():
        if len(speaker.split()) != 1:
            found.report("utt2spk", line, f"utterance {key!r} needs one speaker, not {speaker!r}")
    for key, (recording, start, end) in spans.items():
        text, speaker = texts.get(key, (0, ""))[1], speakers.get(key, (0, key))[1]
        found.utterances.append(Utterance(key, recording, found.paths[recording], start, end, text, speaker))
    found.problems = in_order(found.problems)
    return found


def in_order(problems: list[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: (FILES.index(problem.file), problem.line or 0))


def _read_table(path: Path, found: Scan) -> Table:
    """Read lines of a key and its rest, reporting what does not follow Kaldi's form; the first of twins is kept."""
    thing = "recording" if path.name == "wav.scp" else "utterance"
    report = partial(found.report, path.name)
    rows: Table = {}
    returns, unsorted, last = [], [], ""
    for number, raw in enumerate(_lines(path), 1):
        try:
            line = raw.decode()
        except UnicodeDecodeError as error:
            report(number, f"byte {error.start + 1} is not UTF-8: convert the file with iconv")
            line = raw.decode(errors="replace")
        if line.endswith("\r"):
            returns.append(number)
            line = line[:-1]
        if line.startswith("\ufeff"):
            report(number, "starts with a byte order mark: save the file without one")
            line = line[1:]
        if not line.strip():
            report(number, "is blank: delete it")
            continue
        stray = re.search(r"[^\S ]|^\s|\s\s|\s$", line)
        if stray:
            report(number, f"{stray[0]!r} in column {stray.start() + 1}: put one space between words, none at the ends")
        key, _, rest = " ".join(line.split()).partition(" ")
        if key in rows:
            report(number, f"{thing} {key!r} appears twice (first in line {rows[key][0]}): keep one")
            continue
        if key < last:
            unsorted.append(number)
        rows[key], last = (number, rest), key
    if not rows:
        report(None, "is empty")
    if returns:
        report(returns[0], f"ends in a carriage return{_likewise(returns)}: convert the file with dos2unix")
    if unsorted:
        report(unsorted[0], f"is not in order{_likewise(unsorted)}: sort the file with LC_ALL=C sort")
    return rows


def _lines(path: Path) -> list[bytes]:
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    return lines if lines[-1] else lines[:-1]


def _likewise(numbers: list[int]) -> str:
    return f", like {len(numbers) - 1} more" if len(numbers) > 1 else ""


def _place_recordings(folder: Path, found: Scan) -> None:
    for key, (line, rest) in found.tables.get("wav.scp", {}).items():
        if not rest:
            found.report("wav.scp", line, f"recording {key!r} has no file")
        elif rest.endswith("|"):
            found.report("wav.scp", line, f"recording {key!r} is a command: run it and name the file it makes")
        else:
            inside = folder / rest
            found.paths[key] = Path(rest) if not inside.exists() and Path(rest).exists() else inside


def _cut_segments(found: Scan) -> dict[str, tuple[str, float, float | None]]:
    spans, recordings = {}, found.tables.get("wav.scp", {})
    for key, (line, rest) in found.tables["segments"].items():
        fields = rest.split()
        try:
            recording, start, end = fields[0], *map(float, fields[1:])
        except (IndexError, ValueError):
            found.report("segments", line, f"expected '{key} RECORDING START END', times in seconds")
            continue
        problems = []
        if recordings and recording not in recordings:
            problems.append(f"recording {recording!r} is not in wav.scp")
        if not (math.isfinite(start) and math.isfinite(end)):
            problems.append(f"times {fields[1]} and {fields[2]} must be finite")
        if start < 0:
            problems.append(f"starts at {start:g} s, before the recording does")
        if end != -1 and start >= end:  # Kaldi's -1: the recording's end
            problems.append(f"starts at {start:g} s, not before its end at {end:g} s")
        for message in problems:
            found.report("segments", line, f"utterance {key!r}: {message}")
        if not problems and recording in found.paths:
            spans[key] = recording, start, None if end == -1 else end
    used = {rest.partition(" ")[0] for _, rest in found.tables["segments"].values()}
    for key, (line, _) in recordings.items():
        if used and key not in used:
            found.report("wav.scp", line, f"recording {key!r} has no utterance in segments: take it out")
    return spans


def _match_utterances(found: Scan) -> None:
    """Every file must speak of the same utterances; a file that is missing or empty is told of already."""
    home = "segments" if "segments" in found.tables else "wav.scp"
    utterances = found.tables.get(home)
    for name in ("text", "utt2spk"):
        table = found.tables.get(name)
        if not utterances or not table:
            continue
        for key in table.keys() - utterances.keys():
            found.report(name, table[key][0], f"utterance {key!r} is not in {home}")
        for key in utterances.keys() - table.keys():
            found.report(home, utterances[key][0], f"utterance {key!r} is not in {name}")


def _tables(folder: Path, utterances: Iterable[Utterance]) -> dict[str, dict[str, str]]:
    tables: dict[str, dict[str, str]] = {name: {} for name in FILES}
    whole = True
    for utterance in utterances:
        for value in (utterance.id, utterance.recording, utterance.speaker):
            if not re.fullmatch(r"\S+", value):
                raise UserError(f"{folder}: utterance {utterance.id!r}: {value!r} is empty or has spaces, so no id")
        audio = Path(os.path.abspath(utterance.path))
        audio = str(audio.relative_to(folder) if audio.is_relative_to(folder) else audio)
        if utterance.id in tables["text"]:
            raise UserError(f"{folder}: utterance {utterance.id!r} appears twice")
        if tables["wav.scp"].setdefault(utterance.recording, audio) != audio:
            raise UserError(f"{folder}: recording {utterance.recording!r} is two files: {audio} and another")
        end = "-1" if utterance.end is None else f"{utterance.end:.6f}"
        tables["segments"][utterance.id] = f"{utterance.recording} {utterance.start:.6f} {end}"
        tables["text"][utterance.id] = " ".join(utterance.text.split())
        tables["utt2spk"][utterance.id] = utterance.speaker
        whole &= (utterance.recording, utterance.start, utterance.end) == (utterance.id, 0, None)
    if whole:
        del tables["segments"]
    if not any(tables["text"].values()):
        del tables["text"]
    return tables
