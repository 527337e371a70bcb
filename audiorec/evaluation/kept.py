"""Rows kept beside a page of results, so that it shows what other machines trained and measured, too."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audiorec.errors import UserError
from audiorec.evaluation.rows import Row, typed
from audiorec.files import write_text


def with_kept(path: Path | str, rows: Sequence[Mapping[str, Any]]) -> list[dict]:
    """Measured rows, and those of other models that ``write_rows`` kept in a file.

    Rows of a model (recipe, split and seed) stand for all that the file has of it: it was trained anew. Models measured on
    another test set than the new ones of their split are left out and named.

    Raises UserError that names the file and the line at fault.
    """
    measured = [typed(row, f"row {number}") for number, row in enumerate(rows, 1)]
    models = {_model(row) for row in measured}
    sizes = {row.split: _size(row) for row in measured if _size(row)}
    kept = [row for row in _read(Path(path)) if _model(row) not in models]
    other = {_model(row) for row in kept if _size(row) and _size(row) != sizes.get(row.split, _size(row))}
    for recipe, split, _ in sorted(other, key=str):
        print(f"{path}: leaves out {recipe} on {split}, which was measured on another test set")
    found = [*measured, *(row for row in kept if _model(row) not in other)]
    return [row.model_dump(mode="json", exclude_none=True) for row in found]


def write_rows(path: Path | str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows to a file, one JSON object a line, in an order of their own, so that what differs shows."""
    write_text(path, "".join(sorted(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)))


def _model(row: Row) -> tuple[str, str, int | None]:
    return row.recipe, row.split, row.seed


def _size(row: Row) -> tuple[int, int] | None:
    """Of the test set; joined recordings are fewer."""
    return (row.utterances, row.words) if row.utterances and row.words and row.joined is None else None


def _read(path: Path) -> list[Row]:
    if not path.exists():
        return []
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            rows.append(typed(json.loads(line), f"{path}, line {number}"))
        except ValueError as error:
            raise UserError(f"{path}, line {number}: not JSON: {error}") from None
    return rows
