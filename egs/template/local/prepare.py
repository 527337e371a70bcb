"""Data directories of a corpus: local/prepare.py CORPUS OUT writes OUT/train, OUT/dev and OUT/test.

CORPUS holds text.tsv, a table with a line for each recording, and the recordings. Its first line names the columns: those
below, and any others. A tenth of the speakers each goes to dev and to test; of fewer than three speakers, of the recordings.
"""

import csv
import sys
from hashlib import sha256
from pathlib import Path

from audiorec.data.kaldi import Utterance, write_data_dir
from audiorec.errors import UserError

TABLE = "text.tsv"
PATH, TEXT, SPEAKER = "path", "text", "speaker"


def main(corpus: Path, out: Path) -> None:
    utterances = read_table(corpus)
    speakers = {utterance.speaker for utterance in utterances}
    parts = divide(speakers if len(speakers) >= 3 else {utterance.id for utterance in utterances})
    for part, names in parts.items():
        write_data_dir(out / part, [u for u in utterances if u.speaker in names or u.id in names])


def read_table(corpus: Path) -> list[Utterance]:
    """The utterances of the table; their ids begin with the speaker, as Kaldi wants it."""
    table = corpus / TABLE
    if not table.is_file():
        raise UserError(f"{table}: no such file; make it, with the columns {PATH}, {TEXT}, {SPEAKER}")
    utterances = []
    with table.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        if missing := {PATH, TEXT, SPEAKER} - set(rows.fieldnames or ()):
            raise UserError(f"{table}:1: no column {', '.join(sorted(missing))}; the columns are separated by tabs")
        for row in rows:
            if None in row.values():
                raise UserError(f"{table}:{rows.line_num}: too few columns; they are separated by tabs")
            path = (corpus / row[PATH]).resolve()
            if not path.is_file():
                raise UserError(f"{table}:{rows.line_num}: {row[PATH]}: no such file")
            name = f"{row[SPEAKER]}-{Path(row[PATH]).with_suffix('').as_posix()}".replace("/", "-").replace(" ", "_")
            utterances.append(Utterance(name, name, path, 0.0, None, row[TEXT], row[SPEAKER].replace(" ", "_")))
    return utterances


def divide(names: set[str]) -> dict[str, set[str]]:
    """The same names give the same parts, and of more names most stay where they are: they are sorted by their hashes."""
    order = sorted(names, key=lambda name: sha256(name.encode()).digest())
    if len(order) < 3:
        raise UserError(f"{len(order)} recordings cannot be divided into train, dev and test")
    tenth = max(1, len(order) // 10)
    return {"dev": set(order[:tenth]), "test": set(order[tenth : 2 * tenth]), "train": set(order[2 * tenth :])}


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except UserError as error:
        sys.exit(f"error: {error}")
