"""What the page of a run is made of: sections, tables, charts, and numbers as people read them."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any


def section(title: str, content: str) -> str:
    return f"<section><h2>{title}</h2>{content}</section>" if content else ""


def charts(*drawn: str) -> str:
    figures = "".join(f"<figure>{chart}</figure>" for chart in drawn if chart)
    return f'<div class="charts">{figures}</div>' if figures else ""


def note(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f'<div class="wide"><table><thead>{line(header, "th")}</thead><tbody>{body}</tbody></table></div>'


def shown(value: Any, form: str, factor: float = 1) -> str:
    return "–" if value is None else form.format(value * factor)


def number(rate: float | None) -> str:
    return shown(rate, "{:.2f}", 100)


def percent(rate: float) -> str:
    return f"{100 * rate:.2f} %"


def interval(bounds: Sequence[float] | None) -> str:
    return "–" if bounds is None else " to ".join(f"{100 * bound:.2f}" for bound in bounds)
