"""Shallow fusion: a recurrent language model scores every token that a beam tries (Gulcehre et al. 2015)."""

import copy
from typing import Protocol

from torch import Tensor

from audiorec.errors import UserError
from audiorec.search.beam import Choice, grown
from audiorec.streaming import State, map_state, take
from audiorec.text import BLANK, Tokenizer


class Language(Protocol):
    """What is asked of a language model, in evaluation mode. The blank, which no text has, stands for the end of a text."""

    def initial_state(self, batch_size: int, ragged: bool) -> State:
        """That of texts that have not begun, here of rows that are not ``ragged``."""

    def read(self, symbols: Tensor, lengths: Tensor | None, state: State) -> State:
        """The state after the next symbols (B, S); ``lengths`` is None here: all are valid."""

    def next(self, state: State) -> Tensor:
        """(B, V): log P of what may come next."""


class Fusion:
    """A language model with its tokenizer, and what it adds to the score of a hypothesis: ``weight`` · log P + ``bonus`` for each
    token, ``weight`` · log P for the end of the text.

    It predicts the recogniser's pieces, with a lexicon too. Raises UserError where ``tokenizer``, the recogniser's, has others.

    State: ``lm``, the model's, and ``gains`` (B, K, V), what each symbol would add, the end in the blank's place: so the model
    is asked only where a hypothesis has a new token.
    """

    def __init__(self, model: Language, own: Tokenizer, tokenizer: Tokenizer, weight: float, bonus: float):
        if tokenizer.pieces != own.pieces:
            raise UserError(
                "search.fuse: the language model's pieces are not the recogniser's; train it with the recogniser's: audiorec "
                "train RECIPE --tokenizer MODEL"
            )
        self.model = model
        self.weight, self.bonus = weight, bonus

    def weighted(self, weight: float, bonus: float) -> "Fusion":
        """The same with other weights."""
        other = copy.copy(self)
        other.weight, other.bonus = weight, bonus
        return other

    def initial_state(self, rows: int, beam: int) -> State:
        """That of ``rows`` of ``beam`` hypotheses, all of them empty."""
        empty = self._state(self.model.initial_state(1, ragged=False))
        return map_state(lambda leaf: leaf.unflatten(0, (rows, beam)), take(empty, [0] * rows * beam))

    def gained(self, state: State, tokens: Tensor) -> Tensor:
        """What tokens (B, K, N) add after the hypotheses."""
        return state["gains"].gather(2, tokens)

    def final(self, state: State) -> Tensor:
        """(B, K): what the end adds to each hypothesis."""
        return state["gains"][..., BLANK]

    def advance(self, state: State, choice: Choice) -> State:
        """The state after a frame."""
        symbols = choice.token.flatten()[choice.new, None]

        def read(old: State) -> State:
            return self._state(self.model.read(symbols, None, old["lm"]))

        return grown(state, choice.source, choice.new, read)

    def _state(self, lm: State) -> State:
        gains = self.weight * self.model.next(lm)
        gains[:, BLANK + 1 :] += self.bonus
        return {"lm": lm, "gains": gains}
