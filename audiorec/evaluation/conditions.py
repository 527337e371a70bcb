"""How a model fares where the test set was changed: in noise, in rooms, on the telephone."""

from collections.abc import Sequence

from audiorec.evaluation.markdown import model_columns, table, wer
from audiorec.evaluation.rows import Row, lines

LEGEND = """\
Word error rates in %, offline, of copies of the test set that `audiorec data degrade` made: recorded noise at a ratio of speech
to noise, drawn rooms, a telephone's band."""
CLEAN = "clean"
Condition = tuple[int, float, str]


def condition(row: Row) -> Condition:
    """Sorts the conditions: clean, noise from faint to loud, others by name; the last of it is the name."""
    if not row.change:
        return 0, 0.0, CLEAN
    return (2, 0.0, row.change) if row.snr_db is None else (1, -row.snr_db, row.change)


def degraded(rows: Sequence[Row]) -> list[Row]:
    """The offline rows of changed test sets, and of the plain one those of the same models."""
    offline = [row for row in rows if row.mode == "offline" and row.joined is None]
    models = {row.model for row in offline if row.condition}
    return [row for row in offline if row.model in models]


def robustness(rows: Sequence[Row]) -> list[str]:
    """A part of the page of results; nothing without degraded rows."""
    found = lines(shown := degraded(rows), condition)
    if not found:
        return []
    columns = {
        key[-1]: [wer(line.get(key, []), interval=False) for line in found]
        for key in sorted(set(map(condition, shown)))
    }
    return ["### Robustness", LEGEND, table(model_columns(found) | columns)]
