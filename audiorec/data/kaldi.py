"""Kaldi data directories, in and out: wav.scp, text, utt2spk, and segments, reco2file_and_channel where there are any."""

import math
import os
import re
import shutil
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from audiorec.audio.read import PathLike, header, read
from audiorec.data.tables import FILES, Problem, Table, in_order, read_table, speakers_utterances
from audiorec.errors import UserError

OVERSHOOT = 0.1  # seconds by which a segment may end after its recording, as rounded times do


@dataclass(frozen=True)
class Utterance:
    """What one speaker says from start to end, in seconds, of a recording; end None is the recording's end.

    ``channel`` (0 is the first) names one channel of the file; None stands for the average of all.
    """

    id: str
    recording: str
    path: Path
    start: float
    end: float | None
    text: str
    speaker: str
    channel: int | None = None


@dataclass
class Scan:
    """The sound part of a data directory, its audio not opened, and its problems."""

    tables: dict[str, Table] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)
    channels: dict[str, int] = field(default_factory=dict)
    utterances: list[Utterance] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def report(self, file: str, line: int | None, message: str) -> None:
        self.problems.append(Problem(file, line, message))


def read_data_dir(path: PathLike, require_text: bool = True, allow_empty_text: bool = False) -> list[Utterance]:
    """Read a data directory without looking at its audio; utterances come in the order of its files, sorted by id.

    A relative path in wav.scp is relative to the directory, or else to the working directory. Without segments each
    recording is one utterance; without utt2spk each utterance has its own speaker; without text, which is allowed
    where require_text is False, texts are empty. Where reco2file_and_channel is there, it names each recording's channel;
    else the channels of a file are averaged. With allow_empty_text a line of text may hold an id alone: a recording
    without a word. Raises UserError naming the first problem.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    scanned = scan(folder, require_text, allow_empty_text)
    if scanned.problems:
        raise UserError(f"{folder}/{scanned.problems[0]} (all problems: `audiorec data validate {folder}`)")
    return scanned.utterances


def write_data_dir(path: PathLike, utterances: Iterable[Utterance]) -> None:
    """Write a data directory, sorted; segments only if some utterance is part of a recording, text and
    reco2file_and_channel only if one has a text or a channel.

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
    """The audio of utterances. A cache of max_bytes holds the recordings used last, one of them whatever its size."""

    def __init__(self, max_bytes: int = 10**9):
        self.max_bytes = max_bytes
        self._cache: OrderedDict[tuple[Path, int | None, int], np.ndarray] = OrderedDict()

    def samples(self, utterance: Utterance, sample_rate: int) -> np.ndarray:
        """Return an utterance as float32 mono (T,), the caller's own.

        The whole recording is decoded and resampled, then cut at round(start · rate) and round(end · rate). Raises
        UserError for bad audio and for a segment that is not within its recording.
        """
        recording = self._decoded(utterance.path, utterance.channel, sample_rate)
        start = round(utterance.start * sample_rate)
        end = len(recording) if utterance.end is None else round(utterance.end * sample_rate)
        if not 0 <= start < min(end, len(recording)) or end > len(recording) + OVERSHOOT * sample_rate:
            raise UserError(
                f"{utterance.path}: utterance {utterance.id!r}, {start / sample_rate:g} to {end / sample_rate:g} s, "
                f"is not within the recording's {len(recording) / sample_rate:.3f} s: mend the segment"
            )
        return recording[start:end].copy()

    def _decoded(self, path: Path, channel: int | None, sample_rate: int) -> np.ndarray:
        key = path, channel, sample_rate
        if key not in self._cache:
            # As in Kaldi a file of one channel is the channel that was extracted into it, whatever its name.
            one_of_several = channel is not None and header(path).channels > 1
            self._cache[key] = read(path, sample_rate, channel=channel if one_of_several else None)[0]
            size = sum(recording.nbytes for recording in self._cache.values())
            while size > self.max_bytes and len(self._cache) > 1:
                size -= self._cache.popitem(last=False)[1].nbytes
        self._cache.move_to_end(key)
        return self._cache[key]


def scan(folder: Path, require_text: bool = True, allow_empty_text: bool = False) -> Scan:
    """Read the tables of a data directory and collect all problems, in the order of files and lines."""
    scanned = Scan()
    for name in FILES:
        if (folder / name).is_file():
            scanned.tables[name] = read_table(folder / name, scanned.problems)
        elif name == "wav.scp" or (name == "text" and require_text):
            scanned.report(name, None, "no such file")
    _place_recordings(folder, scanned)
    _name_channels(scanned)
    spans = _cut_segments(scanned) if "segments" in scanned.tables else {key: (key, 0.0, None) for key in scanned.paths}
    _match_utterances(scanned)
    _match_speakers(scanned)
    texts, speakers = (scanned.tables.get(name, {}) for name in ("text", "utt2spk"))
    for key, (line, text) in texts.items():
        if require_text and not text and not allow_empty_text:
            scanned.report("text", line, f"utterance {key!r} has an empty transcript: fill it in or drop the utterance")
    for key, (line, speaker) in speakers.items():
        if len(speaker.split()) != 1:
            scanned.report("utt2spk", line, f"utterance {key!r} needs one speaker, not {speaker!r}")
    for key, (recording, start, end) in spans.items():
        text, speaker = texts.get(key, (0, ""))[1], speakers.get(key, (0, key))[1]
        path, channel = scanned.paths[recording], scanned.channels.get(recording)
        scanned.utterances.append(Utterance(key, recording, path, start, end, text, speaker, channel))
    scanned.problems = in_order(scanned.problems)
    return scanned


def _place_recordings(folder: Path, scanned: Scan) -> None:
    for key, (line, rest) in scanned.tables.get("wav.scp", {}).items():
        if not rest:
            scanned.report("wav.scp", line, f"recording {key!r} has no file")
        elif rest.endswith("|"):
            scanned.report("wav.scp", line, f"recording {key!r} is a command: run it and name the file it makes")
        else:
            inside = folder / rest
            scanned.paths[key] = Path(rest) if not inside.exists() and Path(rest).exists() else inside


def _name_channels(scanned: Scan) -> None:
    """reco2file_and_channel: RECORDING FILE SIDE; a side is A, B, … or a number from 1."""
    table = scanned.tables.get("reco2file_and_channel")
    if table is None:
        return
    recordings = scanned.tables.get("wav.scp", {})
    for key, (line, rest) in table.items():
        fields = rest.split()
        side = fields[1] if len(fields) == 2 else ""
        if re.fullmatch(r"[A-Z]", side):
            scanned.channels[key] = ord(side) - ord("A")
        elif re.fullmatch(r"[1-9]\d{0,3}", side):
            scanned.channels[key] = int(side) - 1
        else:
            message = f"expected '{key} FILE SIDE', a side being A, B or a number from 1"
            scanned.report("reco2file_and_channel", line, message)
        if recordings and key not in recordings:
            scanned.report("reco2file_and_channel", line, f"recording {key!r} is not in wav.scp")
    for key in recordings.keys() - table.keys():
        scanned.report("wav.scp", recordings[key][0], f"recording {key!r} is not in reco2file_and_channel")


def _cut_segments(scanned: Scan) -> dict[str, tuple[str, float, float | None]]:
    spans, recordings = {}, scanned.tables.get("wav.scp", {})
    for key, (line, rest) in scanned.tables["segments"].items():
        fields = rest.split()
        try:
            recording, start, end = fields[0], *map(float, fields[1:])
        except (IndexError, ValueError):
            scanned.report("segments", line, f"expected '{key} RECORDING START END', times in seconds")
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
            scanned.report("segments", line, f"utterance {key!r}: {message}")
        if not problems and recording in scanned.paths:
            spans[key] = recording, start, None if end == -1 else end
    used = {rest.partition(" ")[0] for _, rest in scanned.tables["segments"].values()}
    for key, (line, _) in recordings.items():
        if used and key not in used:
            scanned.report("wav.scp", line, f"recording {key!r} has no utterance in segments: take it out")
    return spans


def _match_utterances(scanned: Scan) -> None:
    """Every file must list the same utterances; a file that is missing or empty is reported elsewhere."""
    home = "segments" if "segments" in scanned.tables else "wav.scp"
    utterances = scanned.tables.get(home)
    for name in ("text", "utt2spk"):
        table = scanned.tables.get(name)
        if not utterances or not table:
            continue
        for key in table.keys() - utterances.keys():
            scanned.report(name, table[key][0], f"utterance {key!r} is not in {home}")
        for key in utterances.keys() - table.keys():
            scanned.report(home, utterances[key][0], f"utterance {key!r} is not in {name}")


def _match_speakers(scanned: Scan) -> None:
    """spk2utt must say what utt2spk says."""
    table, utterances = scanned.tables.get("spk2utt"), scanned.tables.get("utt2spk")
    if table is None:
        return
    if utterances is None:
        scanned.report("spk2utt", None, "comes without utt2spk: `audiorec data fix` makes that from it")
        return
    speakers = speakers_utterances((key, speaker) for key, (_, speaker) in utterances.items())
    for speaker, (line, rest) in table.items():
        if set(rest.split()) != set(speakers.pop(speaker, ())):
            message = (
                f"speaker {speaker!r} has other utterances than in utt2spk: `audiorec data fix` makes the file anew"
            )
            scanned.report("spk2utt", line, message)
    for speaker in speakers:
        scanned.report(
            "spk2utt", None, f"lacks speaker {speaker!r} of utt2spk: `audiorec data fix` makes the file anew"
        )


def _tables(folder: Path, utterances: Iterable[Utterance]) -> dict[str, dict[str, str]]:
    tables: dict[str, dict[str, str]] = {name: {} for name in ("wav.scp", "segments", "text", "utt2spk")}
    channels: dict[str, int | None] = {}
    whole = True
    for utterance in utterances:
        for value in (utterance.id, utterance.recording, utterance.speaker):
            if not re.fullmatch(r"\S+", value):
                raise UserError(f"{folder}: utterance {utterance.id!r}: {value!r} is empty or has spaces, so no id")
        path = Path(os.path.abspath(utterance.path))
        audio = str(path.relative_to(folder) if path.is_relative_to(folder) else path)
        if utterance.id in tables["text"]:
            raise UserError(f"{folder}: utterance {utterance.id!r} appears twice")
        if tables["wav.scp"].setdefault(utterance.recording, audio) != audio:
            raise UserError(f"{folder}: recording {utterance.recording!r} is two files: {audio} and another")
        if channels.setdefault(utterance.recording, utterance.channel) != utterance.channel:
            raise UserError(f"{folder}: recording {utterance.recording!r} is two channels: name them two recordings")
        end = "-1" if utterance.end is None else f"{utterance.end:.6f}"
        tables["segments"][utterance.id] = f"{utterance.recording} {utterance.start:.6f} {end}"
        tables["text"][utterance.id] = " ".join(utterance.text.split())
        tables["utt2spk"][utterance.id] = utterance.speaker
        whole &= (utterance.recording, utterance.start, utterance.end) == (utterance.id, 0, None)
    if whole:
        del tables["segments"]
    if any(channel is not None for channel in channels.values()):
        tables["reco2file_and_channel"] = {}
        for recording, channel in channels.items():
            if channel is None:
                raise UserError(
                    f"{folder}: recording {recording!r} has no channel, others have: name one for all or none"
                )
            file = re.sub(r"\s", "_", Path(tables["wav.scp"][recording]).stem)
            side = chr(ord("A") + channel) if channel < 26 else channel + 1
            tables["reco2file_and_channel"][recording] = f"{file} {side}"
    if not any(tables["text"].values()):
        del tables["text"]
    return tables
