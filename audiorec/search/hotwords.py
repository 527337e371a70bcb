"""Hotwords: phrases to listen for, as a context graph (an Aho-Corasick automaton) over tokens."""

from collections import deque
from collections.abc import Mapping
from itertools import chain, islice, product
from pathlib import Path

from audiorec.errors import UserError
from audiorec.search.automaton import Automaton
from audiorec.search.words import Words
from audiorec.text import UNKNOWN, Normalizer, Tokenizer

SPELLINGS = 64  # ways to say one phrase, at most


def read_hotwords(path: Path | str, score: float) -> dict[str, float]:
    """The phrases of a file, one a line, each with the bonus of its tokens: ``score``, or its own as in ``new york :2.5``.

    Raises UserError naming the line at fault.
    """
    path, phrases = Path(path), {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file of hotwords (in Python a list holds phrases)") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text ({error})") from None
    for number, line in enumerate(lines, 1):
        *words, last = line.split() or [""]
        own = score
        if last.startswith(":"):
            try:
                own = float(last[1:])
            except ValueError:
                raise UserError(f"{path}: line {number}: {last!r} is no score; write it as `phrase :2.5`") from None
        else:
            words.append(last)
        if phrase := " ".join(words):
            phrases[phrase] = own
    if not phrases:
        raise UserError(f"{path}: holds no phrase; write one a line")
    return phrases


def encode_hotwords(
    phrases: Mapping[str, float], tokenizer: Tokenizer, normalize: Normalizer, words: Words | None = None
) -> dict[tuple[int, ...], float]:
    """Phrases as token sequences; in a search of ``words`` by all pronunciations, of which a phrase has ``SPELLINGS`` at most.

    Raises UserError naming a phrase that the tokeniser's pieces cannot spell, or that a search of these words cannot say.
    """
    encoded = {}
    for phrase, score in phrases.items():
        text = normalize(phrase)
        ways = {word: words.lexicon.spellings(word) for word in text.split()} if words else {}
        if words and words.unk_score is None and (unknown := [word for word, way in ways.items() if not way]):
            raise UserError(
                f"hotword {phrase!r}: the search says words of its lexicon alone, which lacks {unknown[0]!r}; "
                "add it there, or allow other words with unk_score"
            )
        each = [ways.get(word) or [tuple(tokenizer.encode(word))] for word in text.split()]
        for way in islice(product(*each), SPELLINGS):
            tokens = tuple(chain(*way))
            if not tokens or UNKNOWN in tokens:
                raise UserError(
                    f"hotword {phrase!r}: has symbols outside the {tokenizer.kind} tokenizer's vocabulary, "
                    "so this model can never say it; leave it out or spell it otherwise"
                )
            encoded[tokens] = score
    return encoded


def context_graph(phrases: Mapping[tuple[int, ...], float], symbols: int) -> Automaton:
    """Every token that carries a phrase on adds its score; a phrase that breaks off gives back what it was given.

    Phrases may overlap, contain one another and begin alike; of a token that several share, the highest score counts. What
    has been completed is kept, at every occurrence; ``final`` takes back what is still incomplete at the end.
    """
    children: list[dict[int, int]] = [{}]
    gain, ends = [0.0], [False]  # what the token that leads to a node adds; whether a phrase ends there
    for tokens, score in phrases.items():
        node = 0
        for token in tokens:
            if token not in children[node]:
                children[node][token] = len(children)
                children.append({})
                gain.append(score)
                ends.append(False)
            node = children[node][token]
            gain[node] = max(gain[node], score)
        ends[node] = True

    failure = [0] * len(children)
    pending = [0.0] * len(children)  # given on the way to a node and not yet earned
    award = [0.0] * len(children)  # what a phrase that ends in a node earns there
    shorter = [0.0] * len(children)  # what the phrases earn that end there too and began later
    arcs = {(0, symbol): (0.0, 0) for symbol in range(symbols)}
    queue = deque([0])
    while queue:
        node = queue.popleft()
        for token, child in children[node].items():
            queue.append(child)
            other = failure[node]
            while other and token not in children[other]:
                other = failure[other]
            failure[child] = suffix = children[other].get(token, 0) if node else 0
            given = pending[node] + gain[child]
            pending[child], award[child] = (0.0, given) if ends[child] else (given, 0.0)
            shorter[child] = shorter[suffix] + award[suffix]
            arcs[node, token] = (gain[child] + shorter[child], child)
    retract = [(pending[suffix] - given, suffix) for suffix, given in zip(failure, pending, strict=True)]
    return Automaton(symbols, arcs, retract, [-given for given in pending])
