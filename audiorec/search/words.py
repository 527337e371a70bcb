"""``Words``: what a beam knows of words. Each hypothesis walks the tree of a lexicon; a word's language model scores its end."""

import ctypes
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from audiorec_kernels import beam as kernel
from torch import Tensor

from audiorec.search.automaton import NO_KEY, Automaton
from audiorec.search.lexicon import Lexicon
from audiorec.streaming import State
from audiorec.transcript import SPELLED

INSIDE = 0  # of a token, in place of the word that ends with it: none does
ROOT = 0


class Variants(NamedTuple):
    """What a token may mean for the word that a hypothesis is in: (B, K, N, R) each; ``gained`` is −inf where it may not."""

    word: Tensor  # the word that ends with the token, or INSIDE, or of an unknown one's tokens ``Words.unknown``
    gained: Tensor  # what is added to the score
    node: Tensor
    lm: Tensor


class Words:
    """A lexicon, and what scores its words.

    ``lm`` scores words: its symbol w − 1 is the lexicon's word w, its last one any other word. With ``unk_score``, which each
    costs, words that the lexicon lacks are spelled by tokens, of which ``begins`` says whether a word begins with it.

    State: ``node`` (B, K), where in the tree each hypothesis is, the node after the last one being that of a spelled word;
    ``lm`` (B, K), the language model's state; ``last`` (B, K), the word that ended with the last token.
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
        self.most = int((lexicon.ends[1:] - lexicon.ends[:-1]).max())  # words that end at one node
        arcs = torch.from_numpy(lexicon.parent[1:] * lexicon.symbols + lexicon.symbol[1:])
        self._arcs = torch.cat([arcs, torch.tensor([NO_KEY])])  # arc i leads to node i + 1
        self._first, self._ends = torch.from_numpy(lexicon.first), torch.from_numpy(lexicon.ends)
        self._symbol = torch.from_numpy(lexicon.symbol)
        self._word, self._weight = torch.from_numpy(lexicon.word), torch.from_numpy(lexicon.weight)
        self._silent = torch.tensor([False, *(not word for word in lexicon.words)])
        self._begins = torch.tensor([*begins], dtype=torch.bool)
        silent = np.array([not word for word in lexicon.words])
        ahead = torch.from_numpy(lexicon.best_below(np.where(silent, 0, self.lm.weights[:count])))
        ahead[ROOT] = 0
        self._kernel: kernel.Words | None = None
        self.ahead = torch.cat([ahead, torch.zeros(1)])  # (nodes + 1,): the best that a word below a node may gain

    def to(self, device: torch.device | str) -> "Words":
        """A copy on ``device``; itself where it is there."""
        if self.ahead.device == torch.device(device):
            return self
        other = object.__new__(Words)
        other.__dict__ = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in self.__dict__.items()}
        return other

    def initial_state(self, rows: int, beam: int, device: torch.device | str) -> State:
        zeros = torch.zeros(rows, beam, dtype=torch.int64, device=device)
        return {"node": zeros, "lm": torch.full_like(zeros, self.lm.start), "last": zeros.clone()}

    def step(self, state: State, tokens: Tensor) -> Variants:
        """The variants of tokens (B, K, N) after the hypotheses."""
        node, lm = state["node"][..., None], state["lm"][..., None].expand_as(tokens)
        keys = torch.where(node == self.spelling, ROOT, node) * self.lexicon.symbols + tokens
        place = torch.searchsorted(self._arcs, keys)
        found = self._arcs[place] == keys
        child = torch.where(found, place + 1, ROOT)
        none = torch.full_like(tokens, INSIDE)
        before = self.ahead[node]

        on = found & (self._first[child] < self._first[child + 1])
        variants = [(none, self.ahead[child] - before, child, lm, on)]
        for place in range(self.most):
            entry = self._ends[child] + place
            ends = found & (entry < self._ends[child + 1])
            entry = entry.masked_fill(~ends, 0)
            word = self._word[entry]
            silent = self._silent[word]
            weight, after = self._ask(lm, word - 1, ends & ~silent)
            variants.append((word, self._weight[entry] + weight - before, none, after, ends))
        if self.unk_score is not None:
            starts = self._begins[tokens] & ((node == ROOT) | (node == self.spelling))
            spelled = starts | (~self._begins[tokens] & (node == self.spelling))
            weight, after = self._ask(lm, torch.full_like(tokens, self.unknown - 1), starts)
            gained = torch.where(starts, self.unk_score + weight, 0)
            variants.append((none + self.unknown, gained, none + self.spelling, after, spelled))
        word, gained, node, lm, valid = (torch.stack(leaf, -1) for leaf in zip(*variants, strict=True))
        return Variants(word, gained.masked_fill(~valid, -torch.inf), node, lm)

    def _ask(self, states: Tensor, symbols: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        """The language model's weights and next states, of those that ``which`` says; of the others 0 and the old state."""
        weights, after = torch.zeros_like(states, dtype=torch.float32), states.clone()
        weights[which], after[which] = self.lm.step(states[which], symbols[which])
        return weights, after

    def between(self, state: State) -> Tensor:
        """(B, K): whether a hypothesis may end, as no word of the lexicon is half said."""
        return (state["node"] == ROOT) | (state["node"] == self.spelling)

    def final(self, state: State, alive: Tensor) -> Tensor:
        """(B, K): what the end adds. A half word is out, unless all that are ``alive`` have one: then it counts for nothing."""
        between = self.between(state)
        half = torch.where((between & alive).any(1, keepdim=True), -torch.inf, -self.ahead[state["node"]])
        return torch.where(between, self.lm.tensors(half.device).final[state["lm"]], half)

    def commit(self, state: State) -> State:
        """After a segment's end a new word begins, whatever was half said."""
        return {**state, "node": torch.full_like(state["node"], ROOT)}

    def kernel(self) -> kernel.Words:
        """This as the native kernel reads it."""
        if self._kernel is None:
            arrays = (
                self._first,
                self._symbol,
                self._ends,
                self._word,
                self._weight,
                self.ahead,
                self._silent,
                self._begins,
            )
            lm = self.lm.kernel
            unk_score = math.nan if self.unk_score is None else self.unk_score
            entry = float(self._weight.max()) + max(self.lm.most, 0.0)
            most = max(
                float(self.ahead.max()), entry, 0.0, -math.inf if self.unk_score is None else unk_score + self.lm.most
            )
            self._kernel = kernel.Words(
                *map(kernel.address, arrays), ctypes.addressof(lm), self.spelling, self.unknown, unk_score, most
            )
        return self._kernel
