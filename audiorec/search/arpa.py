"""N-gram language models in ARPA files: read into packed arrays, and from there into an automaton; written."""

import gzip
import logging
import math
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NoReturn

import numpy as np

from audiorec.errors import UserError
from audiorec.files import replacing
from audiorec.search.automaton import Automaton
from audiorec.search.ngram import BEGIN, END, NEVER, SPECIALS, Floats, Grams, Ints, NGram, look_up
from audiorec.text import Tokenizer
from audiorec.text.tokenizer import MARK

BLOCK = 1 << 14  # lines read at once
KENLM = b"mmap lm http://kheafield.com/code"
GZIP = b"\x1f\x8b"

Row = list[bytes]

log = logging.getLogger(__name__)


def read_arpa(path: Path | str, tokenizer: Tokenizer, weight: float = 1.0, bonus: float = 0.0) -> Automaton:
    """The model of an ARPA file as natural log-probabilities times ``weight``, and ``bonus`` for each token but the end.

    Its symbols are the tokenizer's pieces; for a tokenizer of words, "one" stands for the piece "▁one". Begin and end of
    the sentence count if the file has them. Raises UserError naming the line for a file that is cut short or malformed,
    and for a symbol that is no piece.
    """
    model = read_ngram(path)
    symbols = {piece: index for index, piece in enumerate(tokenizer.pieces)}
    if tokenizer.kind == "word":
        symbols |= {bare: i for piece, i in symbols.items() if (bare := piece.removeprefix(MARK)) not in symbols}
    for word in model.words:
        if word not in symbols and word not in (BEGIN, END):
            raise UserError(
                f"{path}: {word!r} is no piece of this model's {tokenizer.kind} tokenizer; "
                "make the model from its pieces (`audiorec lm --tokenizer`)"
            )
    return model.automaton(symbols, tokenizer.size, weight, bonus)


def read_words(path: Path | str, words: Sequence[str], weight: float = 1.0, bonus: float = 0.0) -> Automaton:
    """The same over ``words``, such as a lexicon's: symbol i is ``words[i]``, and ``<unk>``, if it is one, the file's.

    Words that the file lacks score as its ``<unk>``; how many those are is logged. n-grams of other words are left out.
    Raises UserError where the file lacks nearly all words: it is of another language, or of another case.
    """
    model = read_ngram(path)
    known = set(model.words)
    missing = [word for word in words if word not in known]
    if len(missing) > 0.9 * len(words):
        swapped = sum(word.swapcase() in known for word in missing)
        hint = "it has them in the other case" if swapped > len(missing) / 2 else "it is a model of another vocabulary"
        raise UserError(f"{path}: lacks {len(missing)} of {len(words)} words, such as {missing[0]!r}; {hint}")
    if missing:
        log.warning("%s: lacks %d of %d words, such as %r", path, len(missing), len(words), missing[0])
    return model.automaton({word: i for i, word in enumerate(words)}, len(words), weight, bonus)


def read_ngram(path: Path | str) -> NGram:
    """The n-grams of an ARPA file, plain or gzipped. Raises UserError naming the line at fault."""
    path = Path(path)
    try:
        with _open(path) as file:
            return _Reader(path, file).read()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except MemoryError:
        raise UserError(f"{path}: its header promises more n-grams than memory holds") from None
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None


def write_ngram(path: Path | str, model: NGram) -> None:
    """Write an ARPA file, gzipped where its name ends so."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as aside, _open(aside, "wb") as file:
        file.writelines(block.encode() for block in _blocks(model))


def is_kenlm(path: Path | str) -> bool:
    """Whether a file is a binary of KenLM."""
    with Path(path).open("rb") as file:
        return file.read(len(KENLM)) == KENLM


def _open(path: Path, mode: str = "rb") -> BinaryIO:
    packed = path.suffix == ".gz"
    if mode == "rb":
        with path.open("rb") as file:
            packed = file.read(len(GZIP)) == GZIP
    return gzip.open(path, mode, 1) if packed else path.open(mode)  # type: ignore[return-value]


class _Reader:
    """Reads lines in blocks. ``row`` counts those that are not empty; an error looks for the number of its line."""

    def __init__(self, path: Path, file: BinaryIO):
        self.path = path
        self.lines: Iterator[bytes] = filter(bytes.strip, file)
        self.row = 0
        self.ids = {word.encode(): index for index, word in enumerate(SPECIALS)}

    def read(self) -> NGram:
        if is_kenlm(self.path):
            raise UserError(f"{self.path}: a binary of KenLM; a search reads the ARPA file that it was made of")
        while self.next() != [b"\\data\\"]:
            pass
        counts = []
        while (row := self.next())[0] == b"ngram":
            order, _, count = b"".join(row[1:]).partition(b"=")
            if order != b"%d" % (len(counts) + 1) or not count.isdigit():
                self.fail(f"expected `ngram {len(counts) + 1}=count`, got {_text(row)!r}")
            counts.append(int(count))
        orders: list[Grams] = []
        for order, size in enumerate(counts, 1):
            self.expect(row, f"\\{order}-grams:", order - 1)
            orders.append(self.grams(order, size, orders))
            row = self.next()
        self.expect(row, "\\end\\", len(counts))
        if not counts:
            self.fail("expected `ngram 1=count`")
        return NGram([word.decode() for word in self.ids], orders)

    def grams(self, order: int, size: int, shorter: list[Grams]) -> Grams:
        """The section of an order, of which the header promises ``size``."""
        start = self.row
        words = np.empty((order, size), np.int32)
        values = np.empty((2, size), np.float32)
        for begin in range(0, size, BLOCK):
            lines = list(islice(self.lines, min(BLOCK, size - begin)))
            if not lines:
                self.next()  # tells that the file ends
            self.row += len(lines)
            try:
                part = slice(begin, begin + len(lines))
                words[:, part], values[:, part] = self.block(b"".join(lines), order)
            except (IndexError, KeyError, ValueError):
                self.find_fault(lines, order, size, begin)
                raise
            if len(lines) < min(BLOCK, size - begin):
                self.next()
        if np.isnan(values).any():
            self.fail_at(start, int(np.isnan(values).any(0).argmax()), "expected numbers, got nan")
        # -inf, and the -99 that stands for it, would make scores that cannot be told apart.
        np.maximum(values, NEVER, out=values)
        if order == 1:
            if len(np.unique(words)) < size:
                self.fail("a word stands twice among the 1-grams")
            # An end that the file lacks costs nothing.
            all_words = np.array([[0.0 if word == END.encode() else NEVER, 0.0] for word in self.ids], np.float32).T
            all_words[:, words[0]] = values
            return Grams(np.arange(len(self.ids)), *all_words)
        history = words[0].astype(np.int64)
        for place, grams in enumerate(shorter[1:], 1):
            history, found = look_up(grams.keys, history * len(self.ids) + words[place])
            if not found.all():
                self.fail_at(start, int(found.argmin()), "the history is not among the shorter n-grams")
        keys = history * len(self.ids) + words[-1]
        del words, history
        if not (keys[1:] > keys[:-1]).all():
            sort = np.argsort(keys)
            keys, values = keys[sort], values[:, sort]
            if twice := np.flatnonzero(keys[1:] == keys[:-1]).tolist():
                self.fail_at(start, int(sort[twice[0]]), "stands twice")
        return Grams(keys, *values)

    def block(self, text: bytes, order: int) -> tuple[Ints, Floats]:
        """Of lines that hold n-grams of this order: their words (order, N); scores and back-off weights (2, N)."""
        # One list of all fields: a list for each line would keep Python's garbage collector busy.
        fields = text.split()
        counts = _fields(text)
        weighted = counts == order + 2
        if not (weighted | (counts == order + 1)).all():
            raise ValueError
        if weighted.all() or not weighted.any():
            columns = [fields[place :: counts[0]] for place in range(counts[0])]
        else:
            first = np.cumsum(counts) - counts
            columns = [[fields[i] for i in (first + place).tolist()] for place in range(order + 1)]
            columns.append([fields[i] for i in (first + order + 1)[weighted].tolist()])
        if order == 1:
            for word in columns[1]:
                self.ids.setdefault(word, len(self.ids))
        symbols = columns[1 : order + 1]
        words = np.array([np.fromiter(map(self.ids.__getitem__, column), np.int32) for column in symbols])
        values = np.zeros((2, len(counts)), np.float32)
        values[0] = np.fromiter(map(float, columns[0]), np.float32)
        if weighted.any():
            values[1, weighted] = np.fromiter(map(float, columns[-1]), np.float32)
        return words, values

    def find_fault(self, lines: list[bytes], order: int, size: int, begin: int) -> None:
        """Raise the error of the first of these lines that is no n-gram of this order."""
        start = self.row - len(lines)
        for place, row in enumerate(map(bytes.split, lines)):
            if row[0].startswith(b"\\"):
                self.fail_at(start, place, f"{begin + place} {order}-grams end here, the header promises {size}")
            try:
                numbers = map(float, [row[0], *row[order + 1 :]])
                whole = len(row) - order in (1, 2) and not any(map(math.isnan, numbers))
            except ValueError:
                whole = False
            if not whole:
                self.fail_at(start, place, f"expected log10 probability, {order} symbols, back-off; got {_text(row)!r}")
            if strange := [word for word in row[1 : order + 1] if word not in self.ids]:
                self.fail_at(start, place, f"{_text(strange[:1])!r} is not among the 1-grams")

    def expect(self, row: Row, text: str, order: int) -> None:
        if row == [text.encode()]:
            return
        if order and not row[0].startswith(b"\\"):
            self.fail(f"more {order}-grams than the header promises")
        self.fail(f"expected `{text}`, got {_text(row)!r}")

    def next(self) -> Row:
        for line in self.lines:
            self.row += 1
            return line.split()
        self.fail("ends here without `\\end\\`: cut short, or no ARPA file")

    def fail(self, message: str) -> NoReturn:
        self.fail_at(self.row, -1, message)

    def fail_at(self, start: int, place: int, message: str) -> NoReturn:
        """An error at the row ``place`` after ``start`` rows."""
        with _open(self.path) as file:
            filled = (number for number, line in enumerate(file, 1) if line.strip())
            number = next(islice(filled, max(start + place, 0), None), 0)
        raise UserError(f"{self.path}: line {number}: {message}")


def _fields(text: bytes) -> Ints:
    """How many fields each line of a text has."""
    characters = np.frombuffer(text, np.uint8)
    space = (characters == ord(" ")) | ((characters >= ord("\t")) & (characters <= ord("\r")))
    begins = np.flatnonzero(~space & np.append(True, space[:-1]))
    ends = np.flatnonzero(characters == ord("\n"))
    if len(space) and not space[-1]:
        ends = np.append(ends, len(text) - 1)  # the file's last line
    return np.diff(np.searchsorted(begins, ends, "right"), prepend=0)


def _text(row: Row) -> str:
    return b" ".join(row).decode(errors="replace")


def _blocks(model: NGram) -> Iterator[str]:
    """The text of an ARPA file, piece by piece."""
    yield "\\data\\\n" + "".join(f"ngram {order}={len(grams)}\n" for order, grams in enumerate(model.orders, 1))
    histories = [""]
    for order, grams in enumerate(model.orders, 1):
        yield f"\n\\{order}-grams:\n"
        last = order == len(model.orders)
        texts: list[str] = []
        for begin in range(0, len(grams), BLOCK):
            part = slice(begin, begin + BLOCK)
            above, word = np.divmod(grams.keys[part], len(model.words))
            block = [histories[h] + model.words[w] for h, w in zip(above.tolist(), word.tolist(), strict=True)]
            scores, backoffs = grams.scores[part].tolist(), grams.backoffs[part].tolist()
            if last:
                yield "".join([f"{score:.7g}\t{text}\n" for score, text in zip(scores, block, strict=True)])
            else:
                lines = zip(scores, block, backoffs, strict=True)
                yield "".join([f"{score:.7g}\t{text}\t{backoff:.7g}\n" for score, text, backoff in lines])
                texts += [f"{text} " for text in block]
        histories = texts
    yield "\n\\end\\\n"
