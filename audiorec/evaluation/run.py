"""What a run folder tells: the epochs of its training and its decodings."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from audiorec.data.kaldi import Utterance, read_data_dir
from audiorec.errors import UserError
from audiorec.evaluation.folder import recorded_normalizer
from audiorec.evaluation.rows import Row, typed
from audiorec.evaluation.wer import read_text

NO_METRICS = "valid_loss", "valid_dropped"


class Epoch(NamedTuple):
    """A line of ``metrics.csv``; ``error``, the first head's metric, in %."""

    number: int
    loss: float
    valid_loss: float
    error: float


def read_epochs(run: Path) -> list[Epoch]:
    """The epochs in ``metrics.csv``; none without the file."""
    path = run / "metrics.csv"
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    metric = next(name for name in rows[0] if name.startswith("valid_") and name not in NO_METRICS)
    return [
        Epoch(int(row["epoch"]), float(row["train_loss"]), float(row["valid_loss"]), 100 * float(row[metric]))
        for row in rows
    ]


@dataclass(frozen=True)
class Decoding:
    """A scored folder of ``audiorec decode``. ``utterances`` is empty where its data are not there (any more)."""

    name: str
    row: dict[str, Any]
    measured: Row
    hypotheses: dict[str, str]
    references: dict[str, str]
    utterances: dict[str, Utterance]
    streaming: dict[str, Any]


def read_decodings(run: Path, data: Path | None = None) -> list[Decoding]:
    """The scored decodings of a run, by name. ``data`` is where the data are, if not where the decoding found them.

    Raises UserError where there is none: the page would be empty.
    """
    folders = sorted(path.parent for path in run.glob("decode/*/score.json"))
    if not folders:
        raise UserError(
            f"{run}: no decode/*/score.json; first `audiorec decode` into {run}/decode/NAME and `audiorec score`"
        )
    return [_read(folder, data) for folder in folders]


def _read(folder: Path, data: Path | None) -> Decoding:
    score = folder / "score.json"
    row = json.loads(score.read_text(encoding="utf-8"))
    row = {"recipe": folder.parents[1].resolve().name, "split": Path(row.get("data", "test")).name, **row}
    normalize = recorded_normalizer(folder) or str
    hypotheses = {name: normalize(text) for name, text in read_text(folder / "text").items()}
    where = data or (Path(row["data"]) if "data" in row else None)
    utterances = {u.id: u for u in read_data_dir(where)} if where and (where / "wav.scp").exists() else {}
    if data and not hypotheses.keys() <= utterances.keys():
        raise UserError(f"{data}: does not hold the utterances of {folder}; give the data that were decoded")
    utterances = {name: utterances[name] for name in hypotheses if name in utterances}
    references = {name: normalize(u.text) for name, u in utterances.items() if u.text is not None}
    path = folder / "streaming.json"
    streaming = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return Decoding(folder.name, row, typed(row, str(score)), hypotheses, references, utterances, streaming)
