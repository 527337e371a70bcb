"""How a model fares where speech goes on: the test set's utterances joined, whole and streamed."""

from collections.abc import Sequence

from audiorec.evaluation.markdown import NONE, model_columns, table, wer
from audiorec.evaluation.rows import Line, Row, all_rows, lines

LEGEND = """\
Word error rates in % of longer utterances that `audiorec data join` made of the test set's: how many in one, and their mean
length. *Differ*: words, in all columns, that are not the same streamed as whole."""


def long_form(rows: Sequence[Row]) -> list[str]:
    """A part of the page of results; nothing without joined rows."""
    found = [line for mode in lengths(rows) for line in lines(mode, count)]
    if not found:
        return []
    shown = [row for line in found for row in all_rows(line)]
    found.sort(key=lambda line: (all_rows(line)[0].model, all_rows(line)[0].chunk_ms or 0))
    columns = {
        _title(number, shown): [wer(line.get(number, []), interval=False) for line in found]
        for number in sorted(set(map(count, shown)))
    }
    fed = {"fed": [all_rows(line)[0].fed for line in found]}
    differ = {"differ": [_differ(line) for line in found]}
    return ["### Long form", LEGEND, table(model_columns(found) | fed | columns | differ)]


def lengths(rows: Sequence[Row]) -> list[list[Row]]:
    """The joined rows fed in each way, and with them those of the plain test set of the same models."""
    joined = [row for row in rows if row.joined is not None]
    ways = {row.chunk_ms: {other.model for other in joined if other.chunk_ms == row.chunk_ms} for row in joined}
    return [
        [row for row in rows if not row.condition and row.chunk_ms == chunk and row.model in models]
        for chunk, models in ways.items()
    ]


def count(row: Row) -> int:
    return row.joined or 1


def _title(number: int, rows: Sequence[Row]) -> str:
    seconds = [row.seconds for row in rows if count(row) == number and row.seconds]
    return f"{number} ({max(seconds):.3g} s)" if seconds else str(number)


def _differ(line: Line) -> str:
    """Known only if every streamed row was compared."""
    counts = [row.different_words for row in all_rows(line) if row.mode == "streamed"]
    return str(sum(counts)) if counts and None not in counts else NONE
