"""Characters and whole words: tokenisers that are a table, kept in ``tokens.txt`` as lines ``piece id``."""

from abc import abstractmethod
from collections import Counter
from pathlib import Path

from audiorec.errors import UserError
from audiorec.text.tokenizer import BLANK_PIECE, MARK, UNKNOWN, UNKNOWN_PIECE, Tokenizer

SPECIALS = [BLANK_PIECE, UNKNOWN_PIECE]


class TableTokenizer(Tokenizer):
    """Each piece is looked up; there is one way only to cut a word."""

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

    def _encode(self, words: list[str]) -> list[int]:
        return [self.ids.get(piece, UNKNOWN) for word in words for piece in self.cut(word)]

    def _content(self) -> bytes:
        return "".join(f"{piece} {index}\n" for index, piece in enumerate(self.pieces)).encode()


class CharTokenizer(TableTokenizer):
    """One piece a character, and the piece "▁" before every word."""

    kind = "char"

    @staticmethod
    def cut(word: str) -> list[str]:
        return [MARK, *word]

    @staticmethod
    def is_piece(piece: str) -> bool:
        return len(piece) == 1


class WordTokenizer(TableTokenizer):
    """One piece a word: "▁zero"."""

    kind = "word"

    @staticmethod
    def cut(word: str) -> list[str]:
        return [MARK + word]

    @staticmethod
    def is_piece(piece: str) -> bool:
        return len(piece) > 1 and piece.rfind(MARK) == 0


def train_table(kind: str, lines: list[list[str]], size: int | None) -> TableTokenizer:
    """The table of the pieces in a text, most frequent first, cut off at ``size``.

    Raises UserError when the text has fewer than ``size`` pieces, or ``size`` leaves room for none.
    """
    cls = CharTokenizer if kind == "char" else WordTokenizer
    counts = Counter(piece for line in lines for word in line for piece in cls.cut(word))
    # "▁" comes first whatever its count: a table of characters is none without it.
    ranked = sorted(counts, key=lambda piece: (piece != MARK, -counts[piece], piece))
    least, most = len(SPECIALS) + (2 if kind == "char" else 1), len(SPECIALS) + len(ranked)
    if size is not None and not least <= size <= most:
        raise UserError(
            f"tokenizer size {size}: a {kind} tokenizer of this text can have {least} to {most} pieces; "
            "leave the size out to keep them all"
        )
    return cls((SPECIALS + ranked)[:size])


def load_table(path: Path) -> TableTokenizer:
    """The tokeniser of a ``tokens.txt``: characters if "▁" is a piece by itself, whole words otherwise.

    Raises UserError that names the line at fault: ids must count up from 0, and every piece be of that kind.
    """
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
    specials, ordinary = list(pieces)[:2], list(pieces)[2:]
    if specials != SPECIALS or not ordinary:
        raise UserError(f"{path}: must begin with the lines `{BLANK_PIECE} 0` and `{UNKNOWN_PIECE} 1`, then the pieces")
    cls = CharTokenizer if MARK in pieces else WordTokenizer
    for piece in ordinary:
        if not cls.is_piece(piece):
            raise UserError(
                f"{path}: line {pieces[piece]}: the piece {piece!r} does not fit: if {MARK!r} is a piece, all are "
                f"single characters; if not, all are words that start with {MARK!r}"
            )
    return cls(list(pieces))


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_bytes().decode().removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text ({error})") from None
