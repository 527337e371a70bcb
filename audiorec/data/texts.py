"""Texts alone: what tokenizers and language models learn from."""

from pathlib import Path

from audiorec.data.kaldi import read_data_dir
from audiorec.errors import UserError


def read_texts(path: Path) -> list[str]:
    """The texts of a data directory, the lines of a file, or those of a Kaldi ``text``, so called, without their ids.

    Raises UserError for what cannot be read.
    """
    if path.is_dir():
        found = read_data_dir(path, allow_empty_text=True, allow_pipes=True)  # runs none of them
        return [utterance.text for utterance in found]
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error}); convert it with iconv") from None
    return [line.partition(" ")[2] for line in lines] if path.name == "text" else lines
