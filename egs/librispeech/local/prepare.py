"""Data directories of LibriSpeech: local/prepare.py CORPUS OUT SPLIT...

CORPUS holds LibriSpeech/ as OpenSLR 12 has it. Splits differ by what is trained on: 100 is train-clean-100, 960 all three
parts. Each has dev (dev-clean), test (test-clean) and, to decode by hand, test_other.
"""

import sys
from pathlib import Path

from audiorec.data.kaldi import write_data_dir
from audiorec.data.librispeech import read_librispeech
from audiorec.errors import UserError

TRAINING = {
    "100": ["train-clean-100"],
    "960": ["train-clean-100", "train-clean-360", "train-other-500"],
}
HELD_OUT = {"dev": "dev-clean", "test": "test-clean", "test_other": "test-other"}


def main(corpus: Path, out: Path, *splits: str) -> None:
    home = corpus / "LibriSpeech"
    for split in splits:
        write_data_dir(out / split / "train", [u for part in TRAINING[split] for u in read_librispeech(home / part)])
        for name, part in HELD_OUT.items():
            write_data_dir(out / split / name, read_librispeech(home / part))


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
    except UserError as error:
        sys.exit(f"error: {error}")
