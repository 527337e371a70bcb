"""What is wrong with a Kaldi data directory: everything, in one pass."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from audiorec.audio.read import Header, PathLike, blocks, header
from audiorec.data.kaldi import OVERSHOOT, scan
from audiorec.data.tables import Problem, in_order
from audiorec.errors import UserError

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
    found = scan(folder, require_text, allow_empty_text)
    durations = {}
    for recording, audio in found.paths.items():
        line = found.tables["wav.scp"][recording][0]
        try:
            examined = _examine(audio, deep)
        except UserError as error:
            found.report("wav.scp", line, f"recording {recording!r}: {error}")
            continue
        rate, channel = examined.sample_rate, found.channels.get(recording, 0)
        durations[recording] = examined.frames / rate
        if sample_rate not in (None, rate):
            found.report("wav.scp", line, f"recording {recording!r} has {rate} Hz, not {sample_rate}: convert it")
        if 1 < examined.channels <= channel:
            message = f"recording {recording!r} has {examined.channels} channels: it has no number {channel + 1}"
            found.report("reco2file_and_channel", found.tables["reco2file_and_channel"][recording][0], message)
    for utterance in found.utterances:
        duration = durations.get(utterance.recording)
        if duration is None or "segments" not in found.tables:
            continue
        end = duration if utterance.end is None else utterance.end
        if utterance.start >= duration or end > duration + OVERSHOOT:
            line = found.tables["segments"][utterance.id][0]
            found.report(
                "segments",
                line,
                f"utterance {utterance.id!r}, {utterance.start:g} to {end:g} s, is not within recording "
                f"{utterance.recording!r}, which lasts {duration:.3f} s",
            )
    return in_order(found.problems)


def shorten(problems: Iterable[Problem], limit: int) -> Iterator[str]:
    """Lines for a reader: the first ``limit`` problems of each kind, and how many more follow; all if limit is 0."""
    problems = list(problems)
    totals, shown = Counter(problem.kind for problem in problems), Counter()
    for problem in problems:
        shown[problem.kind] += 1
        if not limit or shown[problem.kind] <= limit:
            yield str(problem)
        if shown[problem.kind] == limit < totals[problem.kind]:
            yield f"{problem.file}: and {totals[problem.kind] - limit} more like this"


def _examine(audio: Path, deep: bool) -> Header:
    """The header, its frames counted by decoding where it does not know them, and where ``deep``."""
    examined = header(audio)
    if deep or examined.frames is None:
        examined = replace(examined, frames=sum(len(samples) for samples, _ in blocks(audio)))
    return examined
