"""Data directories of Google's Speech Commands: local/prepare.py CORPUS OUT. The split is the corpus's own.

CORPUS holds a folder of clips for each word, validation_list.txt and testing_list.txt; clips in neither are trained on. A file's
name begins with its speaker.
"""

import sys
from pathlib import Path

from audiorec.data.kaldi import Utterance, write_data_dir
from audiorec.errors import UserError

LISTS = {"dev": "validation_list.txt", "test": "testing_list.txt"}


def main(corpus: Path, out: Path) -> None:
    held_out = {}
    for part, name in LISTS.items():
        if not (corpus / name).is_file():
            raise UserError(f"{corpus / name}: no such file; fetch the corpus again")
        held_out |= dict.fromkeys((corpus / name).read_text(encoding="utf-8").split(), part)
    parts: dict[str, list[Utterance]] = {"train": [], "dev": [], "test": []}
    for path in sorted(corpus.glob("[!_]*/*.wav")):  # _background_noise_ is no word
        parts[held_out.pop(f"{path.parent.name}/{path.name}", "train")].append(utterance(path))
    if held_out:
        raise UserError(f"{corpus}: {len(held_out)} clips of its lists are not there, such as {next(iter(held_out))}")
    for part, utterances in parts.items():
        write_data_dir(out / part, utterances)


def utterance(path: Path) -> Utterance:
    speaker, _, rest = path.stem.partition("_")
    name = f"{speaker}-{path.parent.name}-{rest}"
    return Utterance(name, name, path.resolve(), 0.0, None, path.parent.name, speaker)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except UserError as error:
        sys.exit(f"error: {error}")
