"""Phones: a word is the phones of its first pronunciation. ``phones.txt`` is their table, ``lexicon.txt`` lies beside it."""

import logging
from collections import Counter
from pathlib import Path
from typing import Literal

from pydantic import Field

from audiorec.errors import UserError
from audiorec.text.lexicon import (
    Pronunciations,
    guess_pronunciations,
    read_pronunciations,
    write_pronunciations,
)
from audiorec.text.registry import TOKENIZERS, TokenizerConfig
from audiorec.text.table import SPECIALS, read_pieces, table
from audiorec.text.tokenizer import MARK, UNKNOWN, Tokenizer

logger = logging.getLogger("audiorec.text")

LEXICON = "lexicon.txt"
NAMED = 5  # words that a message names


class PhoneConfig(TokenizerConfig):
    kind: Literal["phone"] = "phone"
    lexicon: Path | None = Field(None, description="the file `word phone phone …` to train with; a model keeps its own")
    unsaid: Literal["refuse", "skip", "guess"] = Field(
        "refuse",
        description="training words that the lexicon lacks: an error; their utterances are not trained on; letters to sound",
    )


@TOKENIZERS.register
class PhoneTokenizer(Tokenizer):
    """One piece a phone. ``encode`` takes a word's first pronunciation, and ``UNKNOWN`` for a word without one.

    ``decode`` gives phones, single-spaced, which are what a search without a lexicon can say; words are the work of a search
    with the lexicon, which tries all pronunciations. So ``decode(encode(text)) == expected(text)``.
    """

    kind = "phone"
    file = "phones.txt"
    beside = (LEXICON,)
    error_rate = "PER"
    skips_unknown = True
    Config = PhoneConfig

    def __init__(self, pieces: list[str], lexicon: Pronunciations):
        self.pieces = pieces
        self.lexicon = lexicon
        ids = {piece: index for index, piece in enumerate(pieces)}
        self.ids = {word: [ids[phone] for phone in each[0]] for word, each in lexicon.items()}

    @classmethod
    def train(cls, lines: list[list[str]], config: TokenizerConfig) -> "PhoneTokenizer":
        """The phones of the config's lexicon, in the order of their names.

        Raises UserError where the lexicon cannot be used, and for words of the text that it lacks, unless they are to be skipped
        or guessed.
        """
        assert isinstance(config, PhoneConfig)
        if config.size is not None:
            raise UserError(
                f"tokenizer.size {config.size}: a phone tokenizer has the phones of its lexicon; leave it out"
            )
        if config.lexicon is None:
            raise UserError("tokenizer.lexicon: not set; a phone tokenizer needs a file of lines `word phone phone …`")
        read = read_pronunciations(config.lexicon)
        lexicon: Pronunciations = {}
        for word, each in read.items():
            lexicon.setdefault(config.normalize(word), []).extend(each)
        lexicon.pop("", None)
        phones = sorted({phone for each in lexicon.values() for said in each for phone in said})
        counts = Counter(word for line in lines for word in line)
        if not counts.keys() & lexicon.keys():
            raise UserError(
                f"{config.lexicon}: has none of the text's words (its first is {next(iter(read))!r}, the text's "
                f"{next(iter(counts))!r}); is it of another case? tokenizer.normalize.case=lower changes both"
            )
        lacks = {word: count for word, count in counts.items() if word not in lexicon}
        if lacks and config.unsaid == "guess":
            guessed = guess_pronunciations(sorted(lacks), phones)
            logger.info(f"{config.lexicon}: {len(guessed)} words of the text that it lacks are said by their letters")
            lexicon |= guessed
            lacks = {word: count for word, count in lacks.items() if word not in lexicon}
        if lacks:
            named = sorted(lacks, key=lambda word: (-lacks[word], word))[:NAMED]
            message = (
                f"{config.lexicon}: lacks {len(lacks)} words of the text, {sum(lacks.values())} of {sum(counts.values())} "
                f"tokens ({', '.join(named)}{', …' if len(lacks) > NAMED else ''})"
            )
            if config.unsaid == "refuse":
                raise UserError(f"{message}; add them, or set tokenizer.unsaid to skip or guess")
            logger.warning(f"{message}: utterances with them are not trained on")
        tokenizer = cls(SPECIALS + phones, lexicon)
        heard = {phone for word in counts.keys() & lexicon.keys() for phone in lexicon[word][0]}
        if unheard := [phone for phone in phones if phone not in heard]:
            logger.warning(
                f"{config.lexicon}: phones that no training text has will not be learnt: {' '.join(unheard)}"
            )
        return tokenizer

    @staticmethod
    def load(path: Path) -> "PhoneTokenizer":
        """The tokenizer of a ``phones.txt`` and the ``lexicon.txt`` beside it. Raises UserError for a phone without an id."""
        pieces = list(read_pieces(path))
        lexicon = read_pronunciations(path.with_name(LEXICON))
        known = set(pieces[len(SPECIALS) :])
        for word, each in lexicon.items():
            for phones in each:
                if unknown := set(phones) - known:
                    raise UserError(
                        f"{path.with_name(LEXICON)}: {word!r} has the phone {min(unknown)!r}, which {path.name} lacks; "
                        "the model knows no others"
                    )
        return PhoneTokenizer(pieces, lexicon)

    def marked(self, token: int) -> str:
        return MARK + self.pieces[token]

    def expected(self, text: str) -> str:
        return self.decode(self.encode(text))

    def _encode(self, words: list[str]) -> list[int]:
        return [token for word in words for token in self.ids.get(word, (UNKNOWN,))]

    def _content(self) -> bytes:
        return table(self.pieces)

    def _content_beside(self) -> dict[str, bytes]:
        return {LEXICON: write_pronunciations(self.lexicon)}
