"""The word error rates of a model, written into the model card beside its weights."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from audiorec.evaluation.rows import typed
from audiorec.files import write_text
from audiorec.models import find_model

HEADING = "## Word error rates"


def write_card(model: Path | str, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write measured rows (of ``read_rows``) into the model's README.md, in place of older ones; returns its path.

    Raises UserError where there is no model.
    """
    path = find_model(model) / "README.md"
    card = path.read_text(encoding="utf-8").partition(HEADING)[0].rstrip() if path.exists() else f"# {Path(model).name}"
    lines = [HEADING, "", "| test set | fed | WER, % | 95 % interval | utterances |", "|---|---|---|---|---|"]
    for row in sorted(rows, key=_order):
        fed = f"in pieces of {row['chunk_ms']:g} ms" if row["mode"] == "streamed" else "whole"
        fed += f", looking {row['latency_ms']:g} ms ahead" if row.get("latency_ms") is not None else ""
        fed += f", {row['search']}" if row.get("search") else ""
        low, high = row["interval"]
        rates = f"{100 * row['wer']:.2f} | {100 * low:.2f} to {100 * high:.2f}"
        test = ", ".join(filter(None, (row["split"], typed(row, "row").change)))
        lines.append(f"| {test} | {fed} | {rates} | {row['utterances']} |")
    write_text(path, "\n".join([card, "", *lines, ""]))
    return path


def _order(row: Mapping[str, Any]) -> tuple:
    return (
        row["split"],
        typed(row, "row").change,
        row.get("search") or "",
        row.get("latency_ms") or 0,
        row.get("chunk_ms") or 0,
    )
