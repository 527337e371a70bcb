"""How tokens read as words: as a search of words names them, or as the tokenizer spells them."""

from collections.abc import Sequence

from audiorec.text import Tokenizer, Word, words
from audiorec.transcript.hypothesis import HELD, SPELLED, Hypothesis


def read(tokenizer: Tokenizer, said: Hypothesis) -> list[Word]:
    """The words of a hypothesis, each with the span of its tokens. One that a search has not ended is none; silence neither."""
    if not said.words:
        return words(tokenizer, said.ids)
    found: list[Word] = []
    start = 0
    for i, word in enumerate(said.words):
        if word is None:
            continue
        if word == HELD:
            found.append(Word(tokenizer.decode(said.ids[i : i + 1]), start, i + 1))
            start = i + 1
        elif word != SPELLED:
            found += [Word(word, start, i + 1)] if word else []
            start = i + 1
        elif said.words[i + 1 : i + 2] != [SPELLED]:  # the last token of an unknown word, or of several
            spelled = words(tokenizer, said.ids[start : i + 1])
            found += [Word(text, start + first, start + end) for text, first, end in spelled]
            start = i + 1
    return found


def ended(said: Hypothesis) -> int:
    """How many tokens there are up to the end of the last word that is not half said."""
    return (
        max((i + 1 for i, word in enumerate(said.words) if word is not None), default=0)
        if said.words
        else len(said.ids)
    )


def beginnings(said: Hypothesis, begins_word: Sequence[bool], inside: bool = False) -> list[bool]:
    """Of each token, whether a word begins with it; ``inside`` says whether the tokens before were those of half a word.

    ``begins_word`` tells it of the tokens of words that are spelled.
    """
    if not said.words:
        return [begins_word[token] for token in said.ids]
    before = [None if inside else "", *said.words]
    return [
        begins_word[token] if word == SPELLED else previous is not None
        for token, word, previous in zip(said.ids, said.words, before, strict=False)
    ]
