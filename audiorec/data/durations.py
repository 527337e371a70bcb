"""How long recordings are, remembered beside the data directory, so that a second look opens no audio file."""

import logging
import os
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

from audiorec.audio.read import PathLike, blocks, header
from audiorec.data.scan import OVERSHOOT
from audiorec.data.tables import read_table
from audiorec.data.tar import Member, missing
from audiorec.data.utterance import Audio, Pipe, Utterance, source
from audiorec.errors import UserError
from audiorec.files import write_text
from audiorec.progress import progress

CACHE = ".durations"  # lines SIZE MTIME SECONDS PATH, the time in nanoseconds
logger = logging.getLogger("audiorec")


def recording_seconds(
    folder: PathLike, utterances: Iterable[Utterance], believe: bool = True
) -> tuple[dict[str, float], dict[str, str]]:
    """Recording → its seconds, and recording → why its audio cannot be used.

    Kaldi's reco2dur (without segments utt2dur too) is believed, as Kaldi does; `audiorec data validate`
    holds it against the audio. Else the cache in the folder tells, if a file has the size and the time that it had, or a command
    its words; else the header, or where that says nothing the decoded audio, which alone counts where ``believe`` is False. A
    folder that cannot be written has no cache. Of tar files it is looked at whether they are there, and as long as wav.scp says.
    """
    folder = Path(folder)
    paths = {utterance.recording: utterance.path for utterance in utterances}
    seconds = kaldi_durations(folder, paths) if believe else {}
    errors = missing({name: path for name, path in paths.items() if isinstance(path, Member)})
    for name in errors:
        seconds.pop(name, None)
    paths = {name: path for name, path in paths.items() if name not in seconds and name not in errors}
    before = _read_cache(folder / CACHE) if believe else {}
    now: dict[str, tuple[str, float]] = {}
    changed = False
    with progress("recordings examined", len(paths)) as advance:
        for name, path in paths.items():
            key, stamp = str(path), _stamp(path)
            known = before.get(key)
            try:
                if known and known[0] == stamp:
                    seconds[name] = known[1]
                else:
                    seconds[name], changed = examine(path), True
                now[key] = stamp, seconds[name]
            except UserError as error:
                errors[name] = str(error)
            advance(1)
    if changed:
        lines = (f"{stamp} {length!r} {key}\n" for key, (stamp, length) in (before | now).items())
        try:
            write_text(folder / CACHE, "".join(lines))
        except OSError as error:
            logger.debug("%s: durations are not kept: %s", folder / CACHE, error.strerror)
    return seconds, errors


def utterance_seconds(
    folder: PathLike, utterances: Iterable[Utterance], believe: bool = True
) -> tuple[dict[str, float], dict[str, str]]:
    """Utterance → its seconds, and utterance → why its audio cannot be used; see `recording_seconds`."""
    utterances = list(utterances)
    lengths, errors = recording_seconds(folder, utterances, believe)
    seconds, bad = {}, {}
    for utterance in utterances:
        name = utterance.recording
        if name in errors:
            bad[utterance.id] = errors[name]
            continue
        end = lengths[name] if utterance.end is None else utterance.end
        if utterance.start >= lengths[name] or end > lengths[name] + OVERSHOOT:
            times = f"{utterance.start:g} to {end:g} s"
            bad[utterance.id] = f"{times} is not within recording {name!r}, which lasts {lengths[name]:.3f} s"
        else:
            seconds[utterance.id] = end - utterance.start
    return seconds, bad


def recording_formats(utterances: Iterable[Utterance]) -> list[tuple[int, int]]:
    """Hertz and channels of each recording, by its header."""
    headers = [header(source(path)) for path in {u.recording: u.path for u in utterances}.values()]
    return [(examined.sample_rate, examined.channels) for examined in headers]


def sample_rate(path: Audio) -> int:
    """Hertz of a recording, by its header."""
    return header(source(path)).sample_rate


def examine(path: Audio) -> float:
    """Seconds of a recording by its header, or by decoding it where that says nothing. Raises UserError for bad audio."""
    audio = source(path)
    examined = header(audio)
    frames = examined.frames
    if frames is None:
        if isinstance(audio, BytesIO):
            audio.seek(0)
        frames = sum(len(samples) for samples, _ in blocks(audio))
    return frames / examined.sample_rate


def kaldi_durations(folder: Path, recordings: Iterable[str]) -> dict[str, float]:
    """Of these recordings the seconds that reco2dur names, or utt2dur where utterances are recordings."""
    found: dict[str, float] = {}
    for name in ("reco2dur",) if (folder / "segments").exists() else ("utt2dur", "reco2dur"):
        if (folder / name).is_file():
            table = read_table(folder / name, [])
            for key in recordings:
                if key in table:
                    line, value = table[key]
                    try:
                        found[key] = float(value)
                    except ValueError:
                        raise UserError(f"{folder / name}:{line}: expected '{key} SECONDS'") from None
    return found


def _stamp(path: Audio) -> str:
    """What changes when a file does."""
    if isinstance(path, Pipe):
        return "0 0"
    try:
        status = os.stat(path.archive if isinstance(path, Member) else path)
    except OSError:
        return ""  # examine() says what is wrong with it
    return f"{status.st_size} {status.st_mtime_ns}"


def _read_cache(path: Path) -> dict[str, tuple[str, float]]:
    """Path → stamp and seconds; empty where the file is not whole."""
    known = {}
    try:
        for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
            size, time, seconds, key = line.split(" ", 3)
            known[key] = f"{size} {time}", float(seconds)
    except (OSError, ValueError):
        return {}
    return known
