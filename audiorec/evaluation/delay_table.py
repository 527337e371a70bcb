"""The delays of streams, a line a model, at the one size of pieces that most models were fed."""

from collections import Counter
from collections.abc import Sequence
from statistics import mean

from audiorec.evaluation.markdown import NONE, model_columns, table
from audiorec.evaluation.rows import Line, Row, all_rows, lines

LEGEND = """\
Milliseconds of audio heard: *first partial* after the first word begins; *word* after it ends, once it stays as it is, in the
median and for 95 % of the words. *Changed*: words shown and then replaced, in % of the final words. *End*: milliseconds of work,
by the clock, from the last sample to all words. Times of words: {aligned}."""


def delays(rows: Sequence[Row]) -> list[str]:
    """A part of the page of results; nothing without streamed rows that were measured."""
    measured = [row for row in rows if row.streaming and not row.change]
    if not measured:
        return []
    chunk = most_common(measured)
    found = lines((row for row in measured if row.chunk_ms == chunk), lambda row: row.chunk_ms)
    columns = {
        "first partial": [_milliseconds(line, "first_partial", "median") for line in found],
        "word": [_milliseconds(line, "word_delay", "median") for line in found],
        "word, 95 %": [_milliseconds(line, "word_delay", "p95") for line in found],
        "changed": [_changed(line) for line in found],
        "end": [_milliseconds(line, "finalize", "median") for line in found],
    }
    aligned = ", ".join(sorted({row.streaming.aligned for line in found for row in all_rows(line)}))
    legend = LEGEND.format(aligned=aligned)
    return [f"### Delays, streamed by {chunk:g} ms", legend, table(model_columns(found) | columns)]


def most_common(rows: Sequence[Row]) -> float:
    """The size of pieces that the most models were fed, of several the smallest."""
    sizes = Counter(chunk for chunk, _ in {(row.chunk_ms, row.model) for row in rows})
    return min(sizes, key=lambda chunk: (-sizes[chunk], chunk))


def _milliseconds(line: Line, key: str, figure: str) -> str:
    """Of several trainings the mean."""
    values = [getattr(found, figure) for row in all_rows(line) if (found := getattr(row.streaming, key))]
    return f"{1000 * mean(values):.0f}" if values else NONE


def _changed(line: Line) -> str:
    values = [row.streaming.changed for row in all_rows(line) if row.streaming.changed is not None]
    return f"{100 * mean(values):.2f}" if values else NONE
