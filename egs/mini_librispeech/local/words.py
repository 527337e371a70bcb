"""What the search knows of words: local/words.py DATA [LEXICON] [BOOKS].

DATA is the folder of train, dev and test. It gets `lexicon.txt`, `WORD PHONE PHONE …` a line, of LEXICON/cmudict.dict: letters
and apostrophes, phones without stress. It gets `lm/transcripts.txt`, of train alone, and `lm/books.txt`, of BOOKS/*.txt.
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from audiorec.data.kaldi import read_data_dir
from audiorec.errors import UserError
from audiorec.files import write_text
from audiorec.text.lexicon import Pronunciations, write_pronunciations

WORD = re.compile(r"[A-Z']+")
VARIANT = re.compile(r"\(\d+\)$")
HISSING, VOICELESS = {"S", "Z", "SH", "ZH", "CH", "JH"}, {"P", "T", "K", "F", "TH"}


def main(data: Path, lexicon: Path | None = None, books: Path | None = None) -> None:
    texts = [[utterance.text for utterance in read_data_dir(data / "train")]]
    write_text(data / "lm/transcripts.txt", "\n".join(texts[0]) + "\n")
    if books:
        texts.append(
            [
                line
                for path in sorted(books.glob("*.txt"))
                for line in path.read_text("utf-8").upper().split("\n")
                if line
            ]
        )
        if not texts[1]:
            raise UserError(f"{books}: holds no text in *.txt")
        write_text(data / "lm/books.txt", "\n".join(texts[1]) + "\n")
    if lexicon:
        words = read_cmudict(lexicon / "cmudict.dict")
        words |= possessives({word for text in texts for line in text for word in line.split()}, words)
        write_text(data / "lexicon.txt", write_pronunciations(dict(sorted(words.items()))).decode())
        write_text(data / "words.txt", "".join(f"{word}\n" for word in sorted(words)))


def read_cmudict(path: Path) -> Pronunciations:
    """The words of letters and apostrophes, in capitals as LibriSpeech writes them, phones without stress."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; put cmudict.dict of https://github.com/cmusphinx/cmudict there")
    words: Pronunciations = {}
    for line in path.read_text("utf-8").split("\n"):
        name, *phones = line.partition("#")[0].split() or [""]
        word, said = VARIANT.sub("", name).upper(), tuple(phone.rstrip("012") for phone in phones)
        if WORD.fullmatch(word) and said and said not in words.setdefault(word, []):
            words[word].append(said)
    return words


def possessives(texts: Iterable[str], words: Pronunciations) -> Pronunciations:
    """Of the words in texts that the lexicon lacks those that are one of its words with 's or with an apostrophe."""
    found: Pronunciations = {}
    for word in texts:
        stem = word.removesuffix("'S")
        if word in words or (stem not in words and word.rstrip("'") not in words):
            continue
        if stem == word:  # BOYS'
            found[word] = words[word.rstrip("'")]
        else:
            found[word] = [(*said, *ending(said[-1])) for said in words[stem]]
    return found


def ending(phone: str) -> tuple[str, ...]:
    """How 's sounds after a phone."""
    return ("AH", "Z") if phone in HISSING else ("S",) if phone in VOICELESS else ("Z",)


if __name__ == "__main__":
    try:
        main(*(Path(name) if name else None for name in sys.argv[1:]))
    except UserError as error:
        sys.exit(f"error: {error}")
