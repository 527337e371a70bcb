"""``Rescored``: a beam search whose best hypothesis a recurrent language model chooses, where a segment or a stream ends."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from audiorec.errors import UserError
from audiorec.models.language import LanguageModel, pad
from audiorec.search import Automaton, Search, Tokens
from audiorec.streaming import State, put, take
from audiorec.text import Tokenizer
from audiorec.transcript import Hypothesis


class Rescorer:
    """A language model with its tokenizer, and what it adds to the score of a hypothesis: ``weight`` · log P + ``bonus`` · words.

    What a search says becomes the model's symbols label by label: a word of a lexicon is spelled by the model's tokenizer, a
    piece without a lexicon must be one of the model's own. Raises UserError where ``tokenizer``, the recogniser's, has others.
    """

    def __init__(
        self, model: LanguageModel, own: Tokenizer, tokenizer: Tokenizer, weight: float, bonus: float, words: bool
    ):
        if not words and tokenizer.pieces != own.pieces:
            raise UserError(
                "search.rescore: the language model's pieces are not the recogniser's; search with a lexicon, or train it with "
                "the recogniser's: audiorec train RECIPE --tokenizer MODEL"
            )
        self.model = model.eval()
        self.weight, self.bonus = weight, bonus
        self.own, self.tokenizer = own, tokenizer
        self._spelled: dict[str, list[int]] = {}

    def weighted(self, weight: float, bonus: float) -> "Rescorer":
        """The same with other weights."""
        other = copy.copy(self)
        other.weight, other.bonus = weight, bonus
        return other

    def symbols(self, said: Hypothesis) -> list[int]:
        """What the language model reads of these labels."""
        if not said.words:
            return said.ids
        return [symbol for word in said.words if word for symbol in self._spell(word)]

    def words(self, said: Hypothesis) -> int:
        """How many words a hypothesis has, or begins."""
        if not said.words:
            return sum(self.tokenizer.begins_word[token] for token in said.ids)
        return sum(bool(word) for word in said.words)

    def _spell(self, word: str) -> list[int]:
        if word not in self._spelled:
            self._spelled[word] = self.own.encode(word)
        return self._spelled[word]


class Rescored:
    """``search``, a beam, whose n-best list is put in the order of its scores and those of a ``Rescorer`` together.

    State: the search's, and ``lm``, the language model's after the tokens committed in the segment under way. So a stream is
    rescored as a whole utterance is, and a long one costs no more at its end. Until then the best hypothesis is the beam's.
    """

    def __init__(self, search: Search, rescorer: Rescorer):
        self.search = search
        self.rescorer = rescorer
        self.revises, self.segments = search.revises, search.segments

    def add(self, automata: Sequence[Automaton]) -> int:
        return self.search.add(automata)

    def remove(self, owner: int) -> None:
        self.search.remove(owner)

    @torch.no_grad()
    def initial_state(self, batch_size: int, device: torch.device | str = "cpu", owner: int | Tensor = 0) -> State:
        state = self.search.initial_state(batch_size, device, owner)
        return {**state, "lm": self.rescorer.model.initial_state(batch_size)}

    @torch.no_grad()
    def step(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tokens, State]:
        tokens, after = self.search.step(x, lengths, _without(state))
        said = [self.rescorer.symbols(tokens.hypothesis(row)) for row in range(len(x))] if tokens.ids.shape[1] else []
        rows = [row for row, symbols in enumerate(said) if symbols]
        lm = state["lm"]
        if rows:
            part = self.rescorer.model.read(*pad([said[row] for row in rows], x.device), take(lm, rows))
            lm = put(lm, rows, part)
        return tokens, {**after, "lm": lm}

    def partial(self, state: State) -> Tokens:
        return self.search.partial(_without(state))

    def commit(self, state: State) -> tuple[Tokens, State]:
        tokens, after = self.search.commit(self._chosen(state))
        return tokens, {**after, "lm": self.rescorer.model.initial_state(len(state["margin"]))}

    def flush(self, state: State) -> Tokens:
        return self.search.flush(self._chosen(state))

    def hypotheses(self, state: State, row: int) -> list[Hypothesis]:
        found = self.search.hypotheses(_without(state), row)
        scores = self._scores(found, take(state["lm"], [row]))
        best = max(scores)
        order = sorted(range(len(found)), key=lambda i: -scores[i])  # of equal ones the beam's order
        return [replace(found[i], score=scores[i] - best) for i in order]

    def _chosen(self, state: State) -> State:
        """The search's state, in which of each row the best by both scores alone is left."""
        inner, chosen = _without(state), []
        for row in range(len(state["margin"])):
            scores = self._scores(self.search.hypotheses(inner, row), take(state["lm"], [row]))
            chosen.append(scores.index(max(scores)))
        return self.search.keep(inner, chosen)  # type: ignore[attr-defined]  # of a beam, which SearchConfig asks for

    @torch.no_grad()
    def _scores(self, found: Sequence[Hypothesis], lm: State) -> list[float]:
        """Of a row's hypotheses, after what ``lm`` (a batch of one) has read."""
        rescorer, model = self.rescorer, self.rescorer.model
        texts = [tuple(rescorer.symbols(said)) for said in found]
        different = sorted(set(texts), key=len)
        said, after = model.step(*pad(different, lm["last"].device), take(lm, [0] * len(different)))
        log_probs = dict(zip(different, (said + model.end(after)).tolist(), strict=True))
        return [
            one.score + rescorer.weight * log_probs[text] + rescorer.bonus * rescorer.words(one)
            for one, text in zip(found, texts, strict=True)
        ]


def _without(state: State) -> State:
    return {name: leaf for name, leaf in state.items() if name != "lm"}
