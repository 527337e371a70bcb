"""Data directories of yesno: local/prepare.py CORPUS OUT. A file's name is its text: 1 is YES, 0 is NO.

As in icefall, every second recording of the sorted sixty is the test (30 of them, 240 words). Of the others the first and
every sixth after it choose checkpoints; 25 are trained on.
"""

import sys
from pathlib import Path

from audiorec.data.kaldi import Utterance, write_data_dir
from audiorec.errors import UserError

WORDS = {"0": "NO", "1": "YES"}


def main(corpus: Path, out: Path) -> None:
    utterances = [utterance(path) for path in sorted(corpus.rglob("[01]_*.wav"))]
    if len(utterances) != 60:
        raise UserError(f"{corpus}: holds {len(utterances)} recordings named as 0_1_…_0.wav, the corpus has 60")
    rest = utterances[::2]
    write_data_dir(out / "train", [u for i, u in enumerate(rest) if i % 6])
    write_data_dir(out / "dev", rest[::6])
    write_data_dir(out / "test", utterances[1::2])


def utterance(path: Path) -> Utterance:
    text = " ".join(WORDS[digit] for digit in path.stem.split("_"))
    return Utterance(path.stem, path.stem, path.resolve(), 0.0, None, text, "global")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except UserError as error:
        sys.exit(f"error: {error}")
