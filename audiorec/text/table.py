"""Characters and whole words: tokenizers that are a table, kept in ``tokens.txt`` as lines ``piece id``."""

from abc import abstractmethod
from collections import Counter
from pathlib import Path
from typing import Literal

from audiorec.errors import UserError
from audiorec.text.registry import TOKENIZERS, TokenizerConfig
from audiorec.text.tokenizer import BLANK_PIECE, MARK, UNKNOWN, UNKNOWN_PIECE, Tokenizer

SPECIALS = [BLANK_PIECE, UNKNOWN_PIECE]


class TableTokenizer(Tokenizer):
    """Each piece is looked up; there is only one way to cut a word."""

    file = "tokens.txt"

    def __init__(self, pieces: list[str]):
        self.pieces = pieces
        self.ids = {piece: index for index, piece in enumerate(pieces)}

    @staticmethod
    @abstractmethod
    def cut(word: str) -> list[str]:
        """The pieces of a word."""

    @staticmethod
    @abstractmethod
    def is_piece(piece: str) -> bool:
        """Whether ``cut`` could have made it."""

    @classmethod
    def train(cls, lines: list[list[str]], config: TokenizerConfig) -> "TableTokenizer":
        """The pieces of a text, the most frequent first, cut off at the config's ``size``.

        Raises UserError when the text has fewer than ``size`` pieces, or ``size`` leaves room for none.
        """
        size = config.size
        counts = Counter(piece for line in lines for word in line for piece in cls.cut(word))
        # "▁" comes first whatever its count: a table of characters needs it.
        ranked = sorted(counts, key=lambda piece: (piece != MARK, -counts[piece], piece))
        minimum, maximum = len(SPECIALS) + (2 if MARK in counts else 1), len(SPECIALS) + len(ranked)
        if size is not None and not minimum <= size <= maximum:
            raise UserError(
                f"tokenizer.size {size}: a {cls.kind} tokenizer of this text can have {minimum} to {maximum} pieces; "
                "leave the size out to keep them all"
            )
        return cls((SPECIALS + ranked)[:size])

    @staticmethod
    def load(path: Path) -> "TableTokenizer":
        """The tokenizer of a ``tokens.txt``: characters if "▁" is a piece by itself, whole words otherwise.

        Raises UserError that names the line at fault: ids must count up from 0, and every piece be of that kind.
        """
        pieces = read_pieces(path)
        cls = CharTokenizer if MARK in pieces else WordTokenizer
        for piece in list(pieces)[len(SPECIALS) :]:
            if not cls.is_piece(piece):
                raise UserError(
                    f"{path}: line {pieces[piece]}: the piece {piece!r} does not fit: if {MARK!r} is a piece, all are "
                    f"single characters; if not, all are words that start with {MARK!r}"
                )
        return cls(list(pieces))

    def _encode(self, words: list[str]) -> list[int]:
        return [self.ids.get(piece, UNKNOWN) for word in words for piece in self.cut(word)]

    def _content(self) -> bytes:
        return table(self.pieces)


@TOKENIZERS.register
class CharTokenizer(TableTokenizer):
    """One piece a character, and the piece "▁" before every word."""

    kind = "char"

    class Config(TokenizerConfig):
        kind: Literal["char"] = "char"

    @staticmethod
    def cut(word: str) -> list[str]:
        return [MARK, *word]

    @staticmethod
    def is_piece(piece: str) -> bool:
        return len(piece) == 1


@TOKENIZERS.register
class WordTokenizer(TableTokenizer):
    """One piece a word: "▁zero"."""

    kind = "word"

    class Config(TokenizerConfig):
        kind: Literal["word"] = "word"

    @staticmethod
    def cut(word: str) -> list[str]:
        return [MARK + word]

    @staticmethod
    def is_piece(piece: str) -> bool:
        return len(piece) > 1 and piece.rfind(MARK) == 0


def table(pieces: list[str]) -> bytes:
    return "".join(f"{piece} {index}\n" for index, piece in enumerate(pieces)).encode()


def read_pieces(path: Path) -> dict[str, int]:
    """Piece → the number of its line; the special pieces come first."""
    pieces: dict[str, int] = {}
    for number, line in enumerate(_read_lines(path), 1):
        fields = line.split()
        if len(fields) != 2:
            raise UserError(f"{path}: line {number}: expected `piece id`, got {line!r}")
        piece, index = fields
        if index != str(number - 1):
            raise UserError(f"{path}: line {number}: the id must be {number - 1} (they count up from 0), got {index}")
        if piece in pieces:
            raise UserError(f"{path}: line {number}: the piece {piece!r} stands on line {pieces[piece]} already")
        pieces[piece] = number
    if list(pieces)[: len(SPECIALS)] != SPECIALS or len(pieces) == len(SPECIALS):
        raise UserError(f"{path}: must begin with the lines `{BLANK_PIECE} 0` and `{UNKNOWN_PIECE} 1`, then the pieces")
    return pieces


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_bytes().decode().removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text ({error})") from None
