"""Data directories of Arabic Speech Commands: local/prepare.py CORPUS OUT. The split is the corpus's own, by speakers.

CORPUS holds train.csv, val.csv and test.csv (file, class) and the recordings as they name them (dataset/CLASS/FILE.wav), or as
Opus (audio/CLASS/FILE.opus). A class is one word for `heads.classify`: "zoom in" becomes zoom_in. A file's name begins with its
speaker.
"""

import csv
import sys
from pathlib import Path, PurePosixPath

from audiorec.data.kaldi import Utterance, write_data_dir
from audiorec.errors import UserError

PARTS = {"train": "train.csv", "dev": "val.csv", "test": "test.csv"}


def main(corpus: Path, out: Path) -> None:
    for part, table in PARTS.items():
        write_data_dir(out / part, read_table(corpus / table))


def read_table(table: Path) -> list[Utterance]:
    if not table.is_file():
        raise UserError(f"{table}: no such file; fetch the corpus again")
    utterances = []
    with table.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            named = PurePosixPath(row["file"])
            word = row["class"].replace(" ", "_")
            places = table.parent / named, table.parent / "audio" / word / f"{named.stem}.opus"
            path = next((place for place in places if place.is_file()), None)
            if path is None:
                raise UserError(f"{table}: {named} is not there, neither is {places[1].relative_to(table.parent)}")
            speaker, name = named.stem.partition("_")[0], f"{named.stem.partition('_')[0]}-{word}-{named.stem}"
            utterances.append(Utterance(name, name, path.resolve(), 0.0, None, word, speaker))
    return utterances


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except UserError as error:
        sys.exit(f"error: {error}")
