"""Data directories of Mini LibriSpeech: local/prepare.py CORPUS OUT [FEW].

CORPUS is the archive's folder, with Kaldi's train, dev and test, or the content of OpenSLR 31, whose dev-clean-2 becomes
dev and test, speaker by speaker in turn. FEW is a number of utterances for dev and for test, spread over all.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path

from audiorec.data.kaldi import Utterance, read_data_dir, write_data_dir
from audiorec.data.librispeech import read_librispeech
from audiorec.errors import UserError

PARTS = ("train", "dev", "test")


def main(corpus: Path, out: Path, few: int | None = None) -> None:
    read = read_public if (corpus / "LibriSpeech").is_dir() else read_archive
    for part, utterances in read(corpus).items():
        if few and part != "train":
            utterances = utterances[:: max(1, len(utterances) // few)][:few]
        write_data_dir(out / part, utterances)


def read_archive(corpus: Path) -> dict[str, list[Utterance]]:
    """Kaldi data directories whose paths begin at the corpus."""
    return {
        part: [replace(u, path=corpus / os.path.relpath(u.path, corpus / part)) for u in read_data_dir(corpus / part)]
        for part in PARTS
    }


def read_public(corpus: Path) -> dict[str, list[Utterance]]:
    """The corpus as OpenSLR publishes it."""
    held_out = read_librispeech(corpus / "LibriSpeech/dev-clean-2")
    speakers = sorted({utterance.speaker for utterance in held_out})
    return {
        "train": read_librispeech(corpus / "LibriSpeech/train-clean-5"),
        "dev": [utterance for utterance in held_out if utterance.speaker in speakers[::2]],
        "test": [utterance for utterance in held_out if utterance.speaker in speakers[1::2]],
    }


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
    except UserError as error:
        sys.exit(f"error: {error}")
