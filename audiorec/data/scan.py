"""The tables of a Kaldi data directory put together: its utterances, and what is wrong, without a look at the audio."""

import math
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from audiorec.data.labels import LABELS, Lines, read_labels
from audiorec.data.tables import DURATIONS, FILES, Problem, Table, in_order, read_table, speakers_utterances
from audiorec.data.tar import Member
from audiorec.data.utterance import Audio, Pipe, Utterance

OVERSHOOT = 0.1  # seconds by which a segment may end after its recording, as rounded times do

Span = tuple[str, float, float | None, int | None]  # recording, start, end and channel of a segment


@dataclass
class Scan:
    """The sound part of a data directory, its audio not opened, and its problems."""

    tables: dict[str, Table] = field(default_factory=dict)
    paths: dict[str, Audio] = field(default_factory=dict)
    channels: dict[str, int] = field(default_factory=dict)
    labels: Lines = field(default_factory=dict)
    utterances: list[Utterance] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def report(self, file: str, line: int | None, message: str) -> None:
        self.problems.append(Problem(file, line, message))


def scan(folder: Path, require_text: bool = True, allow_empty_text: bool = False, allow_pipes: bool = False) -> Scan:
    """Read the tables of a data directory and collect all problems, in the order of files and lines."""
    scanned = Scan()
    for name in FILES:
        if name == LABELS and (folder / name).is_file():
            scanned.labels = read_labels(folder / name, scanned.problems)
        elif name not in DURATIONS and (folder / name).is_file():
            scanned.tables[name] = read_table(folder / name, scanned.problems)
        elif name == "wav.scp" or (name == "text" and require_text):
            scanned.report(name, None, "no such file")
    _place_recordings(folder, scanned, allow_pipes)
    _name_channels(scanned)
    if "segments" in scanned.tables:
        spans = _cut_segments(scanned)
    else:
        spans = {key: (key, 0.0, None, scanned.channels.get(key)) for key in scanned.paths}
    _match_utterances(scanned)
    _match_speakers(scanned)
    texts, speakers = (scanned.tables.get(name, {}) for name in ("text", "utt2spk"))
    for key, (line, text) in texts.items():
        if not text and require_text and not allow_empty_text:
            scanned.report("text", line, f"utterance {key!r} has an empty transcript: fill it in or drop the utterance")
    for key, (line, speaker) in speakers.items():
        if not speaker or " " in speaker:
            scanned.report("utt2spk", line, f"utterance {key!r} needs one speaker, not {speaker!r}")
    for key, (recording, start, end, channel) in spans.items():
        text, speaker = texts.get(key, (0, ""))[1], speakers.get(key, (0, key))[1]
        path = scanned.paths[recording]
        labels = tuple(stretch for _, stretch in scanned.labels.get(key, ()))
        scanned.utterances.append(Utterance(key, recording, path, start, end, text, speaker, channel, labels))
    scanned.problems = in_order(scanned.problems)
    return scanned


def _place_recordings(folder: Path, scanned: Scan, allow_pipes: bool) -> None:
    home = str(folder)
    archives: dict[str, Path] = {}
    for key, (line, rest) in scanned.tables.get("wav.scp", {}).items():
        if rest.endswith("|"):
            if allow_pipes:
                scanned.paths[key] = Pipe(rest[:-1].strip())
            else:
                message = f"recording {key!r} is a command: name a file, or let --allow-pipes run it if you trust it"
                scanned.report("wav.scp", line, message)
        elif not rest:
            scanned.report("wav.scp", line, f"recording {key!r} has no file")
        elif member := split_member(rest):
            archive, offset = member
            if archive not in archives:  # looked for once, however many it holds
                archives[archive] = _find(home, archive)
            scanned.paths[key] = Member(archives[archive], offset)
        else:
            scanned.paths[key] = _find(home, rest)


def split_member(audio: str) -> tuple[str, int] | None:
    """``ARCHIVE.tar:OFFSET`` as archive and offset; None for what is no member of a tar file."""
    archive, _, offset = audio.rpartition(":")
    return (archive, int(offset)) if archive.endswith(".tar") and offset.isdecimal() else None


def _find(home: str, name: str) -> Path:
    if os.path.isabs(name):
        return Path(name)
    inside = os.path.join(home, name)
    return Path(name if not os.path.exists(inside) and os.path.exists(name) else inside)


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


def _cut_segments(scanned: Scan) -> dict[str, Span]:
    """segments: UTTERANCE RECORDING START END, and as Kaldi has it a channel from 0 if one is meant."""
    spans, recordings, used = {}, scanned.tables.get("wav.scp", {}), set()
    for key, (line, rest) in scanned.tables["segments"].items():
        recording, *fields = rest.split(" ")
        used.add(recording)
        try:
            start, end = map(float, fields[:2])
            channel = int(fields[2]) if fields[2:] else scanned.channels.get(recording)
            if len(fields) > 3 or (channel is not None and channel < 0):
                raise ValueError
        except ValueError:
            message = f"expected '{key} RECORDING START END', times in seconds, and a channel from 0 if one is meant"
            scanned.report("segments", line, message)
            continue
        if recording in scanned.paths and (0 <= start < end < math.inf or (end == -1 and 0 <= start < math.inf)):
            spans[key] = recording, start, None if end == -1 else end, channel
            continue
        problems = []
        if recordings and recording not in recordings:
            problems.append(f"recording {recording!r} is not in wav.scp")
        if not (math.isfinite(start) and math.isfinite(end)):
            problems.append(f"times {fields[0]} and {fields[1]} must be finite")
        if start < 0:
            problems.append(f"starts at {start:g} s, before the recording does")
        if end != -1 and start >= end:  # Kaldi's -1: the recording's end
            problems.append(f"starts at {start:g} s, not before its end at {end:g} s")
        for message in problems:
            scanned.report("segments", line, f"utterance {key!r}: {message}")
    for key in recordings.keys() - used if used else ():
        line, _ = recordings[key]
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
    for key in scanned.labels.keys() - (utterances or scanned.labels).keys():
        scanned.report(LABELS, scanned.labels[key][0][0], f"utterance {key!r} is not in {home}")


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
