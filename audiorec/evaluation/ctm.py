"""CTM, NIST's format of timed words: ``utterance channel begin duration word``, times in seconds."""

from pathlib import Path
from typing import NamedTuple

from audiorec.errors import UserError


class TimedWord(NamedTuple):
    text: str
    begin: float
    end: float


def read_ctm(path: Path | str) -> dict[str, list[TimedWord]]:
    """Utterance → its words in the order of the file. Raises UserError naming the line that is no CTM."""
    utterances: dict[str, list[TimedWord]] = {}
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text ({error})") from None
    for number, line in enumerate(lines, 1):
        try:
            utterance, _, begin, duration, text = line.split()[:5]
            word = TimedWord(text, float(begin), float(begin) + float(duration))
        except ValueError:
            raise UserError(
                f"{path}:{number}: expected `utterance channel begin duration word`, got {line!r}"
            ) from None
        utterances.setdefault(utterance, []).append(word)
    return utterances
