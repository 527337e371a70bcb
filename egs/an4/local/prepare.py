"""Data directories of AN4: local/prepare.py CORPUS OUT. Test is the corpus's own; every tenth speaker of train becomes dev.

CORPUS holds etc/an4_{train,test}.{fileids,transcription} and wav/ (NIST sphere files), or all of that within an4/.
"""

import re
import sys
from pathlib import Path

from audiorec.data.kaldi import Utterance, write_data_dir
from audiorec.errors import UserError


def main(corpus: Path, out: Path) -> None:
    if (corpus / "an4").is_dir():
        corpus = corpus / "an4"
    train = read_part(corpus, "train")
    held_out = set(sorted({utterance.speaker for utterance in train})[::10])
    write_data_dir(out / "train", [u for u in train if u.speaker not in held_out])
    write_data_dir(out / "dev", [u for u in train if u.speaker in held_out])
    write_data_dir(out / "test", read_part(corpus, "test"))


def read_part(corpus: Path, part: str) -> list[Utterance]:
    ids, transcription = (corpus / f"etc/an4_{part}.{kind}" for kind in ("fileids", "transcription"))
    for file in (ids, transcription):
        if not file.is_file():
            raise UserError(f"{file}: no such file; fetch the corpus again")
    places = {Path(line).name: corpus / f"wav/{line}.sph" for line in ids.read_text(encoding="utf-8").split()}
    utterances = []
    for number, line in enumerate(transcription.read_text(encoding="utf-8").splitlines(), 1):
        match = re.fullmatch(r"(?:<s>)?(.*?)(?:</s>)?\s*\((\S+)\)\s*", line)
        if not match or match[2] not in places:
            raise UserError(f"{transcription}:{number}: no `TEXT (FILE)` of a file that {ids.name} lists")
        path = places[match[2]]
        name = f"{path.parent.name}-{path.stem}"
        utterances.append(Utterance(name, name, path.resolve(), 0.0, None, match[1].strip(), path.parent.name))
    return utterances


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except UserError as error:
        sys.exit(f"error: {error}")
