"""``WordTensors``: the walk of a beam's hypotheses through the tree of a lexicon, for torch on any device."""

from typing import NamedTuple

import torch
from torch import Tensor

from audiorec.search.automaton import NO_KEY
from audiorec.search.words import INSIDE, ROOT, Words
from audiorec.streaming import State


class Variants(NamedTuple):
    """What a token may mean for the word that a hypothesis is in: (B, K, N, R) each; ``gained`` is −inf where it may not."""

    word: Tensor  # the word that ends with the token, or INSIDE, or of an unknown one's tokens ``Words.unknown``
    gained: Tensor  # what is added to the score
    node: Tensor
    lm: Tensor


class WordTensors:
    """``Words``, whose names these are.

    State: ``node`` (B, K), where in the tree each hypothesis is, the node after the last one being that of a spelled word;
    ``lm`` (B, K), the language model's state; ``last`` (B, K), the word that ended with the last token.
    """

    @torch.inference_mode(False)  # what is made under it cannot be used outside
    def __init__(self, words: Words, device: torch.device | str):
        tree = words.lexicon
        self.symbols, self.start = tree.symbols, words.lm.start
        self.spelling, self.unknown, self.unk_score = words.spelling, words.unknown, words.unk_score
        self.most = int((tree.ends[1:] - tree.ends[:-1]).max())  # words that end at one node
        self.lm = words.lm.tensors(device)
        arcs = torch.from_numpy(tree.parent[1:] * tree.symbols + tree.symbol[1:])
        self._arcs = torch.cat([arcs, torch.tensor([NO_KEY])]).to(device)  # arc i leads to node i + 1
        arrays = tree.first, tree.ends, tree.word, tree.weight, words.silent, words.begins, words.ahead
        here = (torch.from_numpy(array).to(device) for array in arrays)
        self._first, self._ends, self._word, self._weight, self._silent, self._begins, self._ahead = here

    def initial_state(self, rows: int, beam: int, device: torch.device | str) -> State:
        zeros = torch.zeros(rows, beam, dtype=torch.int64, device=device)
        return {"node": zeros, "lm": torch.full_like(zeros, self.start), "last": zeros.clone()}

    def step(self, state: State, tokens: Tensor) -> Variants:
        """The variants of tokens (B, K, N) after the hypotheses."""
        node, lm = state["node"][..., None], state["lm"][..., None].expand_as(tokens)
        keys = torch.where(node == self.spelling, ROOT, node) * self.symbols + tokens
        place = torch.searchsorted(self._arcs, keys)
        found = self._arcs[place] == keys
        child = torch.where(found, place + 1, ROOT)
        none = torch.full_like(tokens, INSIDE)
        before = self._ahead[node]

        on = found & (self._first[child] < self._first[child + 1])
        variants = [(none, self._ahead[child] - before, child, lm, on)]
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
        half = torch.where((between & alive).any(1, keepdim=True), -torch.inf, -self._ahead[state["node"]])
        return torch.where(between, self.lm.final[state["lm"]], half)

    def commit(self, state: State) -> State:
        """After a segment's end a new word begins, whatever was half said."""
        return {**state, "node": torch.full_like(state["node"], ROOT)}
