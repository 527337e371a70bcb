"""A lexicon: words and the symbols that say or spell them, read from a file into a prefix tree of plain arrays."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import NamedTuple

import numpy as np

from audiorec.errors import UserError
from audiorec.text import UNKNOWN, Normalizer, Tokenizer
from audiorec.text.lexicon import lexicon_lines, weighted

logger = logging.getLogger("audiorec.search")

SILENCES = ("!SIL", "<eps>", "<sil>")  # words of silence, as lexicons of Kaldi name them: they have no text


class Entry(NamedTuple):
    """A pronunciation, or a spelling: ``word`` counts from 1, ``weight`` is a log-probability."""

    word: int
    tokens: tuple[int, ...]
    weight: float = 0.0


@dataclass
class Lexicon:
    """A prefix tree of the entries' tokens. Word w ≥ 1 has the text ``words[w − 1]``, which is empty for silence.

    Nodes are numbered level by level, the root 0, the children of a node side by side, in the order of their tokens: node n's
    are ``first[n]`` to ``first[n + 1] − 1``; ``symbol[n]`` is the token that leads to n. Node n ends the entries ``ends[n]`` to
    ``ends[n + 1] − 1``, each with its ``word`` and ``weight``: several words that one node ends are homophones.
    """

    words: list[str]
    symbols: int  # of the tokenizer
    first: np.ndarray  # (nodes + 1,) int64
    symbol: np.ndarray  # (nodes,) int64
    ends: np.ndarray  # (nodes + 1,) int64
    word: np.ndarray  # (entries,) int64
    weight: np.ndarray  # (entries,) float32

    @classmethod
    def of(cls, words: Sequence[str], entries: Iterable[Entry], symbols: int) -> "Lexicon":
        """The tree of entries, each of at least one token; of equal ones the likeliest counts."""
        entries = sorted(entries, key=lambda entry: (entry.tokens, entry.word, -entry.weight))
        entries = [b for a, b in zip([None, *entries], entries, strict=False) if a is None or a[:2] != b[:2]]
        sizes = np.array([len(entry.tokens) for entry in entries])
        tokens = np.zeros((len(entries), sizes.max()), np.int64)
        tokens[np.arange(tokens.shape[1]) < sizes[:, None]] = [token for entry in entries for token in entry.tokens]
        node = np.zeros(len(entries), np.int64)  # that each entry has come to
        arcs: list[np.ndarray] = []  # of each level (parent, symbol) as parent · symbols + symbol
        count = 1
        for depth in range(tokens.shape[1]):
            live = sizes > depth
            level, which = np.unique(node[live] * symbols + tokens[live, depth], return_inverse=True)
            node[live] = count + which
            arcs.append(level)
            count += len(level)
        parent, symbol = np.divmod(np.concatenate(arcs), symbols)
        order = node.argsort(kind="stable")
        numbers = np.arange(count + 1)
        return cls(
            list(words),
            symbols,
            1 + np.searchsorted(parent, numbers),
            np.concatenate([[0], symbol]),
            np.searchsorted(node[order], numbers),
            np.array([entry.word for entry in entries])[order],
            np.array([entry.weight for entry in entries], np.float32)[order],
        )

    @property
    def nodes(self) -> int:
        return len(self.symbol)

    @property
    def parent(self) -> np.ndarray:
        """(nodes,): the node above each; the root's is itself."""
        return np.concatenate([[0], np.arange(self.nodes).repeat(np.diff(self.first))])

    def spellings(self, word: str) -> list[tuple[int, ...]]:
        """The tokens of each pronunciation of a word; none of a word that is not here."""
        if word not in self.words:
            return []
        parent, found = self.parent, []
        for entry in np.flatnonzero(self.word == self.words.index(word) + 1):
            node = int(np.searchsorted(self.ends, entry, side="right")) - 1
            tokens = []
            while node:
                tokens.append(int(self.symbol[node]))
                node = int(parent[node])
            found.append(tuple(tokens[::-1]))
        return found

    def best_below(self, scores: np.ndarray) -> np.ndarray:
        """(nodes,): the best of ``scores`` (words,) plus an entry's weight among all entries at or below each node."""
        best = np.full(self.nodes, -np.inf, np.float32)
        at = np.arange(self.nodes).repeat(np.diff(self.ends))
        np.maximum.at(best, at, scores[self.word - 1].astype(np.float32) + self.weight)
        parent = self.parent
        level = [0, 1]  # where each level begins
        while level[-1] < self.nodes:
            level.append(int(self.first[level[-1]]))
        for start, end in zip(level[-2:0:-1], level[:1:-1], strict=True):
            np.maximum.at(best, parent[start:end], best[start:end])
        return best


def read_lexicon(path: Path | str, tokenizer: Tokenizer, normalize: Normalizer, extra: Iterable[str] = ()) -> Lexicon:
    """The lexicon of a file: ``word symbol symbol …`` a line, several lines for several pronunciations, as Kaldi's lexicon.txt.

    With a number between 0 and 1 in the second column of every line (lexiconp.txt) that is the pronunciation's probability. A
    file of words alone is spelled by the tokenizer, and so are the words ``extra``, where the file lacks them. Words are
    normalised. Entries that the tokenizer's symbols cannot say, and repeated ones, are left out and counted in a warning. Raises
    UserError naming the line for a word without symbols, and for a file that leaves no word.
    """
    path = Path(path)
    lines = list(lexicon_lines(path))
    if not lines:
        raise UserError(f"{path}: holds no word; write `word symbol symbol …` on each line, or words alone")
    spelled = all(len(fields) == 1 for _, fields in lines)
    has_weights = weighted((fields for _, fields in lines), tokenizer.pieces)
    numbers: dict[str, int] = {}
    entries: dict[tuple[int, tuple[int, ...]], float] = {}
    ids = {piece: index for index, piece in enumerate(tokenizer.pieces) if index > UNKNOWN}
    unsaid, repeated, first = 0, 0, ""
    for number, (word, *symbols) in lines:
        weight = log(float(symbols.pop(0))) if has_weights else 0.0
        if not symbols and not spelled:
            raise UserError(f"{path}: line {number}: {word!r} has no symbols; give them, or words alone on every line")
        text = "" if word in SILENCES else normalize(word)
        tokens = tuple(tokenizer.encode(text) if spelled else [ids.get(symbol, UNKNOWN) for symbol in symbols])
        if not tokens or UNKNOWN in tokens or " " in text or (not text and word not in SILENCES):
            unsaid += 1
            first = first or f"line {number}: {' '.join([word, *symbols])!r}"
            continue
        key = numbers.setdefault(text, len(numbers) + 1), tokens
        repeated += key in entries
        entries[key] = max(weight, entries.get(key, weight))
    if not entries:
        raise UserError(
            f"{path}: no word of it can be said with the symbols of this model's {tokenizer.kind} tokenizer ({first})"
        )
    if unsaid:
        logger.warning(
            f"{path}: {unsaid} of {len(lines)} entries are left out: the {tokenizer.kind} tokenizer lacks their symbols "
            f"(the first is {first})"
        )
    if repeated:
        logger.warning(f"{path}: {repeated} of {len(lines)} entries are there more than once")
    for word in extra:
        if word not in numbers:
            entries[numbers.setdefault(word, len(numbers) + 1), spell(word, tokenizer)] = 0.0
    given = [Entry(word, tokens, weight) for (word, tokens), weight in entries.items()]
    return Lexicon.of(list(numbers), given, tokenizer.size)


def spell(word: str, tokenizer: Tokenizer) -> tuple[int, ...]:
    """The tokens of a word outside of a lexicon. Raises UserError for one that the tokenizer cannot spell."""
    tokens = tuple(tokenizer.encode(word))
    if not tokens or UNKNOWN in tokens:
        raise UserError(
            f"hotword {word!r}: is not in the lexicon, and the {tokenizer.kind} tokenizer cannot spell it; add it to the lexicon"
        )
    return tokens
