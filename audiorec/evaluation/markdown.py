"""Tables in Markdown, and the cells that rows of one model have in all of them."""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev

from audiorec.evaluation.rows import Line, Row, all_rows

NONE = "–"
WORDS = "recipe", "search", "fed"  # columns of words, not of numbers


def table(columns: Mapping[str, Sequence[str]], always: Sequence[str] = ()) -> str:
    """A Markdown table; columns without any entry are left out, but for those of ``always``."""
    kept = {name: cells for name, cells in columns.items() if name in always or any(cell != NONE for cell in cells)}
    header = [list(kept), ["---" if name in WORDS else "---:" for name in kept]]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [*header, *zip(*kept.values(), strict=True)])


def model_columns(lines: Sequence[Line]) -> dict[str, list[str]]:
    """What tells one line from another."""
    return {
        "recipe": [first(line, "recipe") for line in lines],
        "look-ahead, ms": [first(line, "latency_ms", "{:g}") for line in lines],
        "search": [first(line, "search") for line in lines],
        "seeds": [_seeds(line) for line in lines],
    }


def first(line: Line, key: str, form: str = "{}") -> str:
    """A value that is the same in all rows of a line, from the first row that has it."""
    values = [value for row in all_rows(line) if (value := getattr(row, key)) is not None]
    return form.format(values[0]).replace("|", "\\|") if values else NONE


def _seeds(line: Line) -> str:
    """The number of trainings, where there are several."""
    count = max(map(len, line.values()))
    return str(count) if count > 1 else NONE


def wer(rows: Sequence[Row], interval: bool = True) -> str:
    """Of one training with its interval, of several their mean and standard deviation."""
    if not rows:
        return NONE
    bounds = rows[0].interval if interval and len(rows) == 1 else None
    return rate([row.wer for row in rows]) + (f" [{100 * bounds[0]:.2f}, {100 * bounds[1]:.2f}]" if bounds else "")


def rate(rates: Sequence[float]) -> str:
    """A rate in %; of several trainings the mean and the standard deviation."""
    if len(rates) > 1:
        return f"{100 * mean(rates):.2f} ± {100 * stdev(rates):.2f}"
    return f"{100 * rates[0]:.2f}" if rates else NONE
