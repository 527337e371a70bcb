"""What every tokenizer is: text to ids and back. Blank is 0, unknown is 1, "▁" marks where a word starts."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from audiorec.files import replacing
from audiorec.text.registry import TOKENIZERS, TokenizerConfig

BLANK, UNKNOWN = 0, 1
BLANK_PIECE, UNKNOWN_PIECE = "<blk>", "<unk>"
MARK = "\u2581"  # "▁", sentencepiece's sign for the space before a word

# sentencepiece reserves this character and never learns it, so it always encodes to the unknown id.
UNKNOWN_CHARACTER = "\u2585"


class Word(NamedTuple):
    """A word and the tokens that spell it: indices ``start`` to ``end - 1`` of the token sequence."""

    text: str
    start: int
    end: int


class Tokenizer(ABC):
    """Text to ids and back. The laws, for text of single-spaced words that the pieces can spell:

    ``decode(encode(text)) == text`` and ``encode(a + " " + b) == encode(a) + encode(b)``.
    """

    kind: str
    """``kind`` in a recipe: char, word, phone, bpe, unigram, or a plugin's"""
    file: str
    """the name of the file that ``save`` writes, and that tells the kind"""
    beside: tuple[str, ...] = ()
    """names of other files that it writes"""
    default_size: int | None = None
    """number of pieces where the recipe sets none; None: all pieces of the text"""
    pieces: list[str]
    """id → piece; 0 is ``<blk>``, 1 is ``<unk>``, and a piece that starts a word starts with "▁", for every kind but phone"""
    error_rate: str = "WER"
    """the name of the rate at which a greedy search errs in what ``decode`` gives"""
    skips_unknown: bool = False
    """whether utterances with an unknown piece are left out of training"""

    @classmethod
    @abstractmethod
    def train(cls, lines: list[list[str]], config: TokenizerConfig) -> "Tokenizer":
        """Train on the words of each text, as the kind's config says. Raises UserError when the text does not allow it."""

    @staticmethod
    @abstractmethod
    def load(path: Path) -> "Tokenizer":
        """Read the file that ``save`` wrote. Raises UserError when it is damaged."""

    @property
    def size(self) -> int:
        """Number of pieces, blank included."""
        return len(self.pieces)

    def encode(self, text: str) -> list[int]:
        """The ids of a text. What no piece spells, ``<unk>`` itself too, becomes ``UNKNOWN``; blank never appears."""
        return self._encode(text.replace(MARK, " ").replace(UNKNOWN_PIECE, UNKNOWN_CHARACTER).split())

    def decode(self, ids: Iterable[int]) -> str:
        """The words of a token sequence, single-spaced; blanks are skipped."""
        return " ".join(word.text for word in words(self, ids))

    @cached_property
    def begins_word(self) -> list[bool]:
        """Of each token, whether a word begins with it, as `words` tells words apart."""
        return [self.marked(token).startswith(MARK) for token in range(self.size)]

    def marked(self, token: int) -> str:
        """The piece of a token, with "▁" where it starts a word."""
        whole = token == UNKNOWN and self.kind == "word"
        return MARK + self.pieces[token] if whole else self.pieces[token]

    def expected(self, text: str) -> str:
        """What ``decode`` should give of a model that hears a text rightly: the text."""
        return text

    def save(self, folder: Path | str) -> None:
        """Write ``file`` into a folder, whole or not at all, in place of any other tokenizer's."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / self.file) as aside:
            aside.write_bytes(self._content())
        for name, content in self._content_beside().items():
            with replacing(folder / name) as aside:
                aside.write_bytes(content)
        every = {name for cls in TOKENIZERS.kinds.values() for name in (cls.file, *cls.beside)}
        for other in every - {self.file, *self.beside}:
            (folder / other).unlink(missing_ok=True)

    @abstractmethod
    def _encode(self, words: list[str]) -> list[int]: ...

    @abstractmethod
    def _content(self) -> bytes: ...

    def _content_beside(self) -> dict[str, bytes]:
        return {}


def words(tokenizer: Tokenizer, ids: Iterable[int]) -> list[Word]:
    """Token sequence → its words, each with the span of its tokens; ``decode`` is their texts joined by spaces.

    A word's span begins at its "▁". Any sequence will do: at the very start a piece without "▁" opens a word too, and
    a "▁" that nothing follows makes none.
    """
    spans: list[Word] = []
    for index, token in enumerate(ids):
        if token == BLANK:
            continue
        tail, *starts = tokenizer.marked(token).split(MARK)
        if tail:
            text, start, _ = spans.pop() if spans else Word("", index, index)
            spans.append(Word(text + tail, start, index + 1))
        spans += [Word(text, index, index + 1) for text in starts]
    return [word for word in spans if word.text]


def training_words(texts: Iterable[str]) -> list[list[str]]:
    """The words of each text that a tokenizer may learn from: no special pieces, and no text without words."""
    specials = (MARK, UNKNOWN_CHARACTER, BLANK_PIECE, UNKNOWN_PIECE)
    lines = []
    for text in texts:
        for special in specials:
            text = text.replace(special, " ")
        if line := text.split():
            lines.append(line)
    return lines
