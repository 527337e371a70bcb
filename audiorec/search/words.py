"""``Words``: what a beam knows of words. Each hypothesis walks the tree of a lexicon; a word's language model scores its end."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from audiorec_kernels import beam

from audiorec.search.automaton import Automaton
from audiorec.search.lexicon import Lexicon
from audiorec.transcript import SPELLED

if TYPE_CHECKING:
    from audiorec.search.word_tensors import WordTensors

INSIDE = 0  # of a token, in place of the word that ends with it: none does
ROOT = 0


class Words:
    """A lexicon, and what scores its words.

    ``lm`` scores words: its symbol w − 1 is the lexicon's word w, its last one any other word. With ``unk_score``, which each
    costs, words that the lexicon lacks are spelled by tokens, of which ``begins`` says whether a word begins with it.
    """

    def __init__(
        self,
        lexicon: Lexicon,
        lm: Automaton | None = None,
        unk_score: float | None = None,
        begins: Sequence[bool] = (),
    ):
        count = len(lexicon.words)
        self.lexicon = lexicon
        self.lm = lm or Automaton.null(count + 1)
        assert self.lm.symbols == count + 1, "the language model needs a symbol for each word, and one for all others"
        self.unk_score = unk_score
        self.unknown = count + 1  # stands for all other words
        self.texts = [None, *lexicon.words, SPELLED]
        self.spelling = lexicon.nodes
        self.silent = np.array([False, *(not word for word in lexicon.words)])
        self.begins = np.array(begins, bool)
        ahead = lexicon.best_below(np.where(self.silent[1:], 0, self.lm.weights[:count]))
        ahead[ROOT] = 0
        self.ahead = np.append(ahead, np.float32(0))  # (nodes + 1,): the best that a word below a node may gain
        self._tensors: dict[str, WordTensors] = {}

    @cached_property
    def most(self) -> float:
        """No word or part of one gains more, but for the look-ahead that is given back."""
        entry = float(self.lexicon.weight.max()) + max(self.lm.most, 0.0)
        spelled = -np.inf if self.unk_score is None else self.unk_score + self.lm.most
        return max(float(self.ahead.max()), entry, spelled, 0.0)

    @cached_property
    def kernel(self) -> beam.Words:
        """The same as the native kernel reads it."""
        return beam.Words.of(self)

    def tensors(self, device: object) -> "WordTensors":
        """The same for torch, on a device, where it stays."""
        from audiorec.search.word_tensors import WordTensors

        found = self._tensors.get(str(device))
        if found is None:
            found = self._tensors[str(device)] = WordTensors(self, device)
        return found
