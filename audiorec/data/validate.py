"""What is wrong with a Kaldi data directory: everything, in one pass."""

from collections import Counter
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path

from audiorec.audio.read import PathLike, blocks, header
from audiorec.data.labels import LABELS
from audiorec.data.scan import OVERSHOOT, Scan, scan
from audiorec.data.tables import DURATIONS, Problem, in_order, read_table
from audiorec.data.utterance import source
from audiorec.errors import UserError
from audiorec.progress import progress

__all__ = ["Problem", "shorten", "validate"]


def validate(
    path: PathLike,
    sample_rate: int | None = None,
    *,
    deep: bool = False,
    require_text: bool = True,
    allow_empty_text: bool = False,
    allow_pipes: bool = False,
) -> list[Problem]:
    """Return every problem of a data directory, in the order of files and lines; none means that it is sound.

    Each recording's header is read once; deep decodes all audio to its end, which finds damage that headers hide. With
    sample_rate (hertz) recordings of any other rate are problems too; with allow_empty_text, as heads.classify alone needs
    it, empty transcripts are none; with allow_pipes commands are run, else they are problems. A directory with labels needs no
    text. str(problem) is
    `text:17: what is wrong`.
    """
    folder = Path(path)
    if not folder.is_dir():
        return [Problem(str(folder), None, "no such folder")]
    require_text = require_text and ((folder / "text").exists() or not (folder / LABELS).exists())
    scanned = scan(folder, require_text, allow_empty_text, allow_pipes)
    durations: dict[str, float] = {}
    channels: dict[str, int] = {}
    with progress("recordings examined", len(scanned.paths)) as advance:
        for recording in scanned.paths:
            try:
                durations[recording], channels[recording] = _examine(recording, scanned, sample_rate, deep)
            except UserError as error:
                line = scanned.tables["wav.scp"][recording][0]
                scanned.report("wav.scp", line, f"recording {recording!r}: {error}")
            advance(1)
    _match_channels(scanned, channels)
    _match_named_durations(folder, scanned, durations)
    if "segments" in scanned.tables:
        _match_durations(scanned, durations)
    _match_labels(scanned, durations)
    return in_order(scanned.problems)


def shorten(problems: Iterable[Problem], limit: int) -> Iterator[str]:
    """Lines for a reader: the first ``limit`` problems of each kind, and how many more follow; all if limit is 0."""
    problems = list(problems)
    totals = Counter(problem.kind for problem in problems)
    shown: Counter[str] = Counter()
    for problem in problems:
        shown[problem.kind] += 1
        if not limit or shown[problem.kind] <= limit:
            yield str(problem)
        if shown[problem.kind] == limit < totals[problem.kind]:
            yield f"{problem.file}: and {totals[problem.kind] - limit} more like this"


def _examine(recording: str, scanned: Scan, sample_rate: int | None, deep: bool) -> tuple[float, int]:
    """Duration in seconds and channels of a recording, its rate checked. Raises UserError for bad audio."""
    audio = source(scanned.paths[recording])
    examined = header(audio)
    rate, frames = examined.sample_rate, examined.frames
    if sample_rate not in (None, rate):
        line = scanned.tables["wav.scp"][recording][0]
        scanned.report("wav.scp", line, f"recording {recording!r} has {rate} Hz, not {sample_rate}: convert it")
    if deep or frames is None:  # the header does not know them
        if isinstance(audio, BytesIO):
            audio.seek(0)
        frames = sum(len(samples) for samples, _ in blocks(audio))
    return frames / rate, examined.channels


def _match_channels(scanned: Scan, channels: dict[str, int]) -> None:
    """Report the channels that a recording has not; its only channel is the one that was extracted."""
    named = [("reco2file_and_channel", recording, recording, side) for recording, side in scanned.channels.items()]
    for utterance in scanned.utterances:
        if utterance.channel is not None and utterance.channel != scanned.channels.get(utterance.recording):
            named.append(("segments", utterance.id, utterance.recording, utterance.channel))
    for file, key, recording, side in named:
        if 1 < (count := channels.get(recording, 0)) <= side:
            line = scanned.tables[file][key][0]
            scanned.report(file, line, f"recording {recording!r} has {count} channels: it has no number {side + 1}")


def _match_durations(scanned: Scan, durations: dict[str, float]) -> None:
    """Report the segments that do not lie within their recording."""
    for utterance in scanned.utterances:
        duration = durations.get(utterance.recording)
        if duration is None:
            continue
        end = duration if utterance.end is None else utterance.end
        if utterance.start >= duration or end > duration + OVERSHOOT:
            line = scanned.tables["segments"][utterance.id][0]
            scanned.report(
                "segments",
                line,
                f"utterance {utterance.id!r}, {utterance.start:g} to {end:g} s, is not within recording "
                f"{utterance.recording!r}, which lasts {duration:.3f} s",
            )


def _match_labels(scanned: Scan, durations: dict[str, float]) -> None:
    """Report the labels that reach beyond their utterance."""
    for utterance in scanned.utterances:
        end = durations.get(utterance.recording) if utterance.end is None else utterance.end
        if end is None:
            continue
        for line, stretch in scanned.labels.get(utterance.id, ()):
            if stretch.end > end - utterance.start + OVERSHOOT:
                message = f"ends at {stretch.end:g} s, but {utterance.id!r} lasts {end - utterance.start:.3f} s"
                scanned.report(LABELS, line, message)


def _match_named_durations(folder: Path, scanned: Scan, durations: dict[str, float]) -> None:
    """Report what reco2dur and utt2dur say otherwise than the audio."""
    spans = {u.id: (u.recording, u.start, u.end) for u in scanned.utterances}
    for file in DURATIONS:
        table = read_table(folder / file, []) if (folder / file).is_file() else {}
        for key, (line, value) in table.items():
            recording, start, end = spans.get(key, ("", 0.0, None)) if file == "utt2dur" else (key, 0.0, None)
            if recording not in durations:
                continue
            true = (durations[recording] if end is None else end) - start
            try:
                if abs(float(value) - true) > OVERSHOOT:
                    message = f"{value} s, but {key!r} lasts {true:.3f} s: `audiorec data utt2dur` makes the file anew"
                    scanned.report(file, line, message)
            except ValueError:
                scanned.report(file, line, f"expected '{key} SECONDS'")
