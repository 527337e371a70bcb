"""What is wrong with a Kaldi data directory: everything, in one pass."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from audiorec.audio.read import PathLike, blocks, header
from audiorec.data.kaldi import OVERSHOOT, Scan, scan
from audiorec.data.tables import Problem, in_order
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
) -> list[Problem]:
    """Return every problem of a data directory, in the order of files and lines; none means that it is sound.

    Each recording's header is read once; deep decodes all audio to its end, which finds damage that headers hide. With
    sample_rate (hertz) recordings of any other rate are problems too; with allow_empty_text, as heads.classify alone needs
    it, empty transcripts are none. str(problem) is `text:17: what is wrong`.
    """
    folder = Path(path)
    if not folder.is_dir():
        return [Problem(str(folder), None, "no such folder")]
    scanned = scan(folder, require_text, allow_empty_text)
    durations = {}
    with progress("recordings examined", len(scanned.paths)) as advance:
        for recording in scanned.paths:
            try:
                durations[recording] = _examine(recording, scanned, sample_rate, deep)
            except UserError as error:
                line = scanned.tables["wav.scp"][recording][0]
                scanned.report("wav.scp", line, f"recording {recording!r}: {error}")
            advance(1)
    if "segments" in scanned.tables:
        _match_durations(scanned, durations)
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


def _examine(recording: str, scanned: Scan, sample_rate: int | None, deep: bool) -> float:
    """The duration of a recording in seconds, after its rate and channels are checked. Raises UserError for bad audio."""
    path = scanned.paths[recording]
    examined = header(path)
    rate, channels = examined.sample_rate, examined.channels
    if sample_rate not in (None, rate):
        line = scanned.tables["wav.scp"][recording][0]
        scanned.report("wav.scp", line, f"recording {recording!r} has {rate} Hz, not {sample_rate}: convert it")
    channel = scanned.channels.get(recording, 0)
    if 1 < channels <= channel:
        line = scanned.tables["reco2file_and_channel"][recording][0]
        message = f"recording {recording!r} has {channels} channels: it has no number {channel + 1}"
        scanned.report("reco2file_and_channel", line, message)
    frames = examined.frames
    if deep or frames is None:  # the header does not know them
        frames = sum(len(samples) for samples, _ in blocks(path))
    return frames / rate


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
