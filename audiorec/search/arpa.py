"""N-gram language models in ARPA files, read into an automaton over a tokenizer's pieces."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from audiorec.errors import UserError
from audiorec.search.automaton import Automaton
from audiorec.text import UNKNOWN, Tokenizer
from audiorec.text.tokenizer import MARK

BEGIN, END = "<s>", "</s>"
NEVER = -100.0  # log10 of a piece that is not in the file, if <unk> is not either; KenLM's choice too

History = tuple[int, ...]
Grams = dict[History, tuple[float, float]]


def read_arpa(path: Path | str, tokenizer: Tokenizer, weight: float = 1.0, bonus: float = 0.0) -> Automaton:
    """The model of an ARPA file as natural log-probabilities times ``weight``, and ``bonus`` for each token but the end.

    Its symbols are the tokenizer's pieces; for a tokenizer of words, "one" stands for the piece "▁one". Begin and end of
    the sentence count if the file has them. Raises UserError naming the line for a file that is cut short, malformed, or
    has a symbol that is no piece.
    """
    ids = {piece: index for index, piece in enumerate(tokenizer.pieces)}
    if tokenizer.kind == "word":
        ids |= {piece.removeprefix(MARK): index for piece, index in ids.items()}
    return _automaton(_read(Path(path), ids, tokenizer.size, tokenizer), tokenizer.size, UNKNOWN, weight, bonus)


def read_words(path: Path | str, words: Sequence[str], weight: float = 1.0, bonus: float = 0.0) -> Automaton:
    """The same over ``words``, of which ``<unk>`` is the last: symbol i is ``words[i]``. n-grams of other words are left out."""
    ids = {word: index for index, word in enumerate(words)}
    return _automaton(_read(Path(path), ids, len(words), None), len(words), ids["<unk>"], weight, bonus)


def _automaton(grams: Grams, size: int, unk: int, weight: float, bonus: float) -> Automaton:
    begin, end = size, size + 1
    unknown = (grams[(unk,)][0] if (unk,) in grams else NEVER, 0.0)
    grams |= {(piece,): unknown for piece in range(size) if (piece,) not in grams}
    grams.setdefault((begin,), unknown)
    grams.setdefault((end,), (0.0, 0.0))

    # A history without continuations and without back-off weight is no state: its longest suffix gives the same scores.
    histories = {(), *(gram[:-1] for gram in grams), *(gram for gram, (_, backoff) in grams.items() if backoff)}
    states = {history: index for index, history in enumerate(sorted(histories, key=lambda gram: (len(gram), gram)))}

    def state(history: History) -> int:
        return next(states[history[i:]] for i in range(len(history) + 1) if history[i:] in states)

    scale = weight * math.log(10)
    arcs = {
        (states[gram[:-1]], gram[-1]): (scale * score + bonus * (gram[-1] != end), state(gram))
        for gram, (score, _) in grams.items()
    }
    failure = [(scale * grams[history][1], state(history[1:])) if history else (0.0, 0) for history in states]
    final = []
    for index in range(len(states)):
        total = 0.0
        while (index, end) not in arcs:
            weight, index = failure[index]
            total += weight
        final.append(total + arcs[index, end][0])
    arcs = {key: arc for key, arc in arcs.items() if key[1] < size}  # nobody says begin and end
    return Automaton(size, arcs, failure, final, state((begin,)))


def _read(path: Path, ids: dict[str, int], size: int, tokenizer: Tokenizer | None) -> Grams:
    """Every n-gram, with its log10 probability and back-off weight; without a tokenizer, those of these symbols."""
    ids = ids | {BEGIN: size, END: size + 1}
    lines = _lines(path)
    counts: list[int] = []
    while (line := next(lines))[1] != "\\data\\":
        pass
    number, text = next(lines)
    while text.startswith("ngram "):
        order, _, count = text.removeprefix("ngram ").partition("=")
        if order.strip() != str(len(counts) + 1) or not count.strip().isdigit():
            raise UserError(f"{path}: line {number}: expected `ngram {len(counts) + 1}=count`, got {text!r}")
        counts.append(int(count))
        number, text = next(lines)
    grams: Grams = {}
    for order, count in enumerate(counts, 1):
        if text != f"\\{order}-grams:":
            raise UserError(f"{path}: line {number}: expected `\\{order}-grams:`, got {text!r}")
        before, left_out = len(grams), 0
        while not (line := next(lines))[1].startswith("\\"):
            if tokenizer is None and not ids.keys() >= set(line[1].split()[1 : order + 1]):
                left_out += 1
                continue
            gram, scores = _gram(path, *line, order, ids, tokenizer)
            if order > 1 and gram[:-1] not in grams:
                raise UserError(f"{path}: line {line[0]}: the history of {line[1]!r} is not among the shorter n-grams")
            grams[gram] = scores
        number, text = line
        if len(grams) - before + left_out != count:
            raise UserError(
                f"{path}: line {number}: {len(grams) - before} {order}-grams end here, the header promises {count}"
            )
    if text != "\\end\\" or not counts:
        raise UserError(f"{path}: line {number}: expected `\\end\\`, got {text!r}")
    return grams


def _gram(
    path: Path, number: int, text: str, order: int, ids: dict[str, int], tokenizer: Tokenizer | None
) -> tuple[History, tuple[float, float]]:
    fields = text.split()
    try:
        score = float(fields[0])
        backoff = float(fields[order + 1]) if len(fields) == order + 2 else 0.0
    except ValueError:
        score = backoff = math.nan
    if not order + 1 <= len(fields) <= order + 2 or math.isnan(score + backoff):
        raise UserError(f"{path}: line {number}: expected log10 probability, {order} symbols, back-off; got {text!r}")
    for symbol in fields[1 : order + 1]:
        if tokenizer and symbol not in ids:
            raise UserError(
                f"{path}: line {number}: {symbol!r} is no piece of this model's {tokenizer.kind} tokenizer; "
                "make the model from its pieces (`audiorec lm`)"
            )
    # -inf, and the -99 that stands for it, would make scores that cannot be told apart.
    return tuple(ids[symbol] for symbol in fields[1 : order + 1]), (max(score, NEVER), max(backoff, NEVER))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number, content) of the lines that are not empty; past the last one a UserError."""
    number = 0
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if text := line.strip():
                    yield number, text
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text ({error})") from None
    raise UserError(f"{path}: line {number}: ends here without `\\end\\`: cut short, or no ARPA file")
