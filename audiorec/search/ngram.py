"""Estimate a small n-gram model from transcripts: interpolated absolute discounting (Ney, Essen & Kneser 1994)."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from audiorec.errors import UserError
from audiorec.files import write_text
from audiorec.search.arpa import BEGIN, END, NEVER
from audiorec.text import BLANK, UNKNOWN, Tokenizer

Gram = tuple[str, ...]


def write_ngram(path: Path | str, texts: Iterable[str], tokenizer: Tokenizer, order: int = 3) -> None:
    """Write an ARPA file of n-grams up to ``order`` over the tokenizer's pieces; every piece has a probability above 0.

    p(w|h) = max(count(hw) − D, 0) / count(h) + D · types(h·) / count(h) · p(w|h'), with D = n₁ / (n₁ + 2 n₂) for each
    order, where n₁ and n₂ are the numbers of n-grams that occur once and twice. ``<unk>`` is one of the words where the
    tokenizer does not know all of the text. Raises UserError where there is no text.
    """
    sentences = [[tokenizer.pieces[i] for i in tokenizer.encode(text)] for text in texts if text.strip()]
    if not sentences:
        raise UserError(f"{path}: there is no text to count; give transcripts that hold words")
    counts: list[Counter[Gram]] = [Counter() for _ in range(order)]
    for sentence in sentences:
        line = (BEGIN, *sentence, END)
        for size, counter in enumerate(counts, 1):
            # Every sentence has a beginning, so it is never predicted.
            counter.update(line[max(0, end - size) : end] for end in range(max(2, size), len(line) + 1))
    words = [piece for i, piece in enumerate(tokenizer.pieces) if i not in (BLANK, UNKNOWN)] + [END]
    if any(tokenizer.pieces[UNKNOWN] in sentence for sentence in sentences):
        words.append(tokenizer.pieces[UNKNOWN])
    probability: dict[Gram, float] = {}
    backoff: dict[Gram, float] = {}
    for counter in counts:
        once, twice = (sum(count == times for count in counter.values()) for times in (1, 2))
        discount = once / (once + 2 * twice) if once and twice else 0.5
        total: Counter[Gram] = Counter()
        types: Counter[Gram] = Counter()
        for gram, count in counter.items():
            total[gram[:-1]] += count
            types[gram[:-1]] += 1
        for history in total:
            backoff[history] = discount * types[history] / total[history]
        for gram in counter if counter is not counts[0] else [(word,) for word in words]:
            history = gram[:-1]
            lower = probability[gram[1:]] if history else 1 / len(words)
            discounted = max(counter[gram] - discount, 0) / total[history]
            probability[gram] = discounted + backoff[history] * lower
    _write(Path(path), probability, backoff, order)


def _write(path: Path, probability: dict[Gram, float], backoff: dict[Gram, float], order: int) -> None:
    by_order: dict[int, list[str]] = defaultdict(list)
    by_order[1].append(f"{NEVER:g}\t{BEGIN}\t{_log10(backoff.get((BEGIN,), 1.0))}")
    for gram, value in sorted(probability.items()):
        line = f"{_log10(value)}\t{' '.join(gram)}"
        by_order[len(gram)].append(f"{line}\t{_log10(backoff[gram])}" if gram in backoff else line)
    text = ["\\data\\", *(f"ngram {size}={len(by_order[size])}" for size in range(1, order + 1)), ""]
    for size in range(1, order + 1):
        text += [f"\\{size}-grams:", *by_order[size], ""]
    write_text(path, "\n".join([*text, "\\end\\", ""]))


def _log10(value: float) -> str:
    return f"{math.log10(value):.7g}"
