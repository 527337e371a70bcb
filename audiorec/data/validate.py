"""What is wrong with a Kaldi data directory: everything, in one pass."""

from pathlib import Path

from audiorec.audio.read import PathLike, blocks, header
from audiorec.data.kaldi import OVERSHOOT, Problem, in_order, scan
from audiorec.errors import UserError

__all__ = ["Problem", "validate"]


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
            rate, durations[recording] = _examine(audio, deep)
        except UserError as error:
            found.report("wav.scp", line, f"recording {recording!r}: {error}")
            continue
        if sample_rate not in (None, rate):
            found.report("wav.scp", line, f"recording {recording!r} has {rate} Hz, not {sample_rate}: convert it")
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


def _examine(audio: Path, deep: bool) -> tuple[int, float]:
    """Sample rate, and duration in seconds, by decoding where the header does not know it."""
    found = header(audio)
    frames = found.frames
    if deep or frames is None:
        frames = sum(len(samples) for samples, _ in blocks(audio))
    return found.sample_rate, frames / found.sample_rate
