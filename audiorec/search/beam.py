"""``BeamSearch``: what the beam searches share. K hypotheses a row; equal ones become one, their probabilities added."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from audiorec.search import native
from audiorec.search.automata import Pool, Shared
from audiorec.search.automaton import Automaton, must_fit
from audiorec.search.history import Growth, History
from audiorec.search.tokens import Tokens, without_blank
from audiorec.search.word_tensors import Variants
from audiorec.search.words import Words
from audiorec.streaming import State, map_state, take, valid
from audiorec.text import BLANK
from audiorec.transcript import Hypothesis

if TYPE_CHECKING:
    from audiorec.search.fusion import Fusion

MULTIPLIER = 0x5851F42D4C957F2D  # of the hash: Knuth's multiplier for MMIX


@dataclass
class Expansion:
    """Log-scores of K hypotheses after one more frame."""

    stay: Tensor  # (B, K): without a new token
    tokens: Tensor  # (B, K, N): the tokens that are tried after each
    extended: Tensor  # (B, K, N): with each of these tokens
    joined: Tensor  # (B, K, K): hypothesis i with the last token of hypothesis j, which may make it equal to j
    gained: Tensor | None = None  # (B, K, N): what the tokens gain beside, by their history alone, as of an automaton


@dataclass
class Choice:
    """The K best hypotheses after a frame, best first."""

    source: Tensor  # (B, K): the old hypothesis that each comes from
    stays: Tensor  # (B, K): whether it has no new token
    token: Tensor  # (B, K): its last token
    score: Tensor  # (B, K)
    arriving: Tensor  # (B, K): log-probability that old hypotheses receive from others that became equal to them
    best: Tensor  # (B, 1): subtracted from every score, so that scores of long streams stay exact in float32
    alive: Tensor  # (B, K)

    @cached_property
    def new(self) -> Tensor:
        """(N,): the hypotheses that have a new token, counted through rows."""
        return (self.alive & ~self.stays).flatten().nonzero()[:, 0]


class BeamSearch(ABC):
    """Frames in, tokens out; ``beam`` hypotheses, each with up to ``window`` tokens that are not committed yet.

    Merging: a frame adds at most one token to a hypothesis. So hypothesis a becomes equal to b only if b is a plus one token.
    Each hypothesis keeps the hash of its tokens and the hash of its tokens without the last one (its parent): if the hash of a
    is the parent of b, a with b's last token is b, and their probabilities are added. The times are those of the likelier one.

    Pruning: ``automata`` (n-grams, hotwords) and ``fusion``, a recurrent language model, score each token after its history.
    Each hypothesis tries the ``4 · beam`` tokens with the highest probability. Without these helpers ``beam`` tokens are enough:
    the tokens after them score lower than these ``beam``, and only ``beam`` hypotheses are kept. So a row without automata
    gives the same whoever it is searched with. With a ``threshold`` those whose score is further below the best are dropped, too:
    what the others agree on is committed sooner, and fewer histories are asked what follows.

    With ``words`` the hypotheses walk the tree of a lexicon. Then a token is added together with the word that it ends, if it
    does, and all that is said above of tokens holds of the two together; each way that a word may go is tried (``Words``).

    With ``columns`` each row may have up to so many automata of its own, which ``add`` and ``remove`` bring and take while
    others go on; ``automata`` are those of the rows that have none of their own. Over ``symbols``, where that is known.

    State, batch axis first: ``score`` (B, K), relative to the best; ``bonus`` (B, K), the part that others than the model gave;
    ``automata`` (B, K, F), their states; with ``columns`` also ``owner`` (B,), whose automata; ``last`` (B, K), the last token;
    ``hash`` and ``parent`` (B, K); ``history``; ``words`` and ``fused``, where the search has these; ``own``, the subclass's
    part; ``frame`` (B,); ``margin`` (B,), the gap between the two best scores; ``dropped`` (B,), the smallest at a ``commit``.
    """

    revises = True
    segments = True

    def __init__(
        self,
        beam: int = 4,
        window: int = 64,
        automata: Sequence[Automaton] = (),
        columns: int = 0,
        symbols: int | None = None,
        words: Words | None = None,
        fusion: "Fusion | None" = None,
        threshold: float | None = None,
    ):
        self.beam = beam
        self.threshold = threshold
        self.words = words
        self.fusion = fusion
        self.history = History(beam, window, words is not None)
        self.automata = Pool(columns, automata, symbols) if columns else Shared(automata, symbols)
        self._try_enough()

    @abstractmethod
    def prepare(self, x: Tensor) -> Tensor:
        """What ``expand`` reads of the encoder frames (B, T, C): (B, T, …)."""

    @abstractmethod
    def initial_own(self, batch_size: int, device: torch.device | str) -> State:
        """The subclass's part of the state; hypothesis 0 is the empty one, no other is alive."""

    @abstractmethod
    def expand(self, frame: Tensor, state: State) -> tuple[Expansion, Tensor]:
        """The scores after a frame (B, …), and its log-probabilities (B, K or 1, V)."""

    @abstractmethod
    def settle(self, frame: Tensor, state: State, choice: Choice) -> State:
        """The subclass's part of the state after the choice."""

    @abstractmethod
    def native(self, frames: Tensor, lengths: Tensor | None, state: State) -> tuple[Tokens, State]:
        """``step`` by the native kernel, of frames that are prepared."""

    def alone(self, own: State, score: Tensor) -> State:
        """The subclass's part of the one hypothesis that is left, whose ``score`` (B, 1) counts as 0 from now on."""
        return own

    def add(self, automata: Sequence[Automaton]) -> int:
        """The ``owner`` whose rows these automata are to score, in place of the search's own; no row of others changes.

        Raises UserError where the search has no ``columns`` for them, or where they are over other symbols than its own.
        """
        owner = self.automata.add(automata)
        self._try_enough()
        return owner

    def remove(self, owner: int) -> None:
        """Take the automata of an owner out again, once its last row is flushed."""
        self.automata.remove(owner)
        self._try_enough()

    def _try_enough(self) -> None:
        self.tried = (4 if self.automata or self.words or self.fusion else 1) * self.beam

    @torch.no_grad()
    def initial_state(self, batch_size: int, device: torch.device | str = "cpu", owner: int | Tensor = 0) -> State:
        """``owner``: what ``add`` gave for the rows, or for each of them (B,); 0, the search's own automata."""
        ints = torch.zeros(batch_size, self.beam, dtype=torch.int64, device=device)
        score = torch.full_like(ints, -torch.inf, dtype=torch.float32)
        score[:, 0] = 0
        return {
            **self.automata.initial_state(batch_size, self.beam, device, owner),
            "score": score,
            "bonus": torch.zeros_like(score),
            **(
                {"words": self.words.tensors(device).initial_state(batch_size, self.beam, device)} if self.words else {}
            ),
            **self._unfused(batch_size),
            "last": ints,
            "hash": ints + 1,
            "parent": ints.clone(),
            "history": self.history.initial_state(batch_size, device),
            "own": self.initial_own(batch_size, device),
            "frame": ints[:, 0].clone(),
            "margin": torch.full((batch_size,), torch.inf, device=device),
            "dropped": torch.full((batch_size,), torch.inf, device=device),
        }

    @torch.no_grad()
    def step(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tokens, State]:
        """The tokens that these frames commit: x (B, T, C), lengths (B,) any from 0 to T, or None: all of T."""
        batch, time = x.shape[:2]
        longest = shortest = time if batch else 0
        if lengths is not None:
            longest, shortest = (int(lengths.max()), int(lengths.min())) if batch and time else (0, 0)
        if longest == 0:
            return Tokens.none(batch, x.device), state
        frames = self.prepare(x)
        if native.serves(frames) and not self.fusion:
            tokens, state = self.native(frames if longest == time else frames[:, :longest], lengths, state)
            return self._named(tokens), state
        live, committed = None if lengths is None else valid(lengths, longest), []
        for t in range(longest):
            after, out = self._advance(frames[:, t], state)
            if t >= shortest:
                after = _where(live[:, t], after, state)
            committed.append(out)
            state = after
        ids, *rest = (torch.stack(leaf, 1) for leaf in zip(*committed, strict=True))
        ordered = self._final(state).sort(1, descending=True).values
        margin = torch.minimum(ordered[:, 0] - ordered[:, 1], state["dropped"]) if self.beam > 1 else state["margin"]
        if lengths is not None:
            margin = torch.where(lengths > 0, margin, state["margin"])
        arrived = ids != BLANK if live is None else (ids != BLANK) & live
        return self._named(Tokens.where(arrived, ids, lambda: tuple(rest))), {**state, "margin": margin}

    def partial(self, state: State) -> Tokens:
        """The best hypothesis's tokens that are not committed yet."""
        return self._tokens(state, torch.zeros_like(state["frame"]))

    @torch.no_grad()
    def commit(self, state: State) -> tuple[Tokens, State]:
        """Commit all tokens of the best hypothesis, chosen as at the end of the stream; all others are dropped."""
        best = self._final(state).argmax(1)
        tokens = self._tokens(state, best)
        rows, chosen = torch.arange(len(best), device=best.device)[:, None], best[:, None].expand(-1, self.beam)
        names = ("automata", "last", "hash", "parent", "own", *(["words"] if self.words else []))
        kept = map_state(lambda leaf: leaf[rows, chosen], {name: state[name] for name in names})
        if self.words:
            kept["words"] = self.words.tensors(best.device).commit(kept["words"])
        score = torch.full_like(state["score"], -torch.inf)
        score[:, 0] = 0  # no other hypothesis is alive
        return tokens, {
            **state,
            **kept,
            **self._unfused(len(best)),
            "own": self.alone(kept["own"], state["score"].gather(1, best[:, None])),
            "score": score,
            "bonus": torch.zeros_like(score),
            "history": self.history.initial_state(len(best), best.device),
            "dropped": state["margin"],
        }

    def flush(self, state: State) -> Tokens:
        """The same at the end of the stream, where n-grams score the end and hotwords take back what is incomplete."""
        return self._tokens(state, self._final(state).argmax(1))

    def hypotheses(self, state: State, row: int) -> list[Hypothesis]:
        """What may follow the committed tokens of a row, best first, if the stream ends here."""
        scores, order = self._final(state)[row].sort(descending=True, stable=True)
        history = {name: leaf[row] for name, leaf in state["history"].items()}
        found = []
        for score, k in zip((scores - scores[0]).tolist(), order.tolist(), strict=True):
            if score > -torch.inf:
                length = int(history["length"][k])
                said = {name: leaf[k, :length].tolist() for name, leaf in history.items() if name != "length"}
                if self.words:
                    said["words"] = [self.words.texts[word] for word in said["words"]]
                found.append(Hypothesis(**said, score=score))
        return found

    def keep(self, state: State, which: Sequence[int]) -> State:
        """The state in which of each row's ``hypotheses``, by their place in that list, this one alone is left."""
        order = self._final(state).sort(dim=1, descending=True, stable=True).indices
        chosen = order.gather(1, torch.tensor(which, device=order.device)[:, None])
        others = torch.arange(self.beam, device=order.device) != chosen
        return {**state, "score": state["score"].masked_fill(others, -torch.inf)}

    def _tokens(self, state: State, which: Tensor) -> Tokens:
        rows = torch.arange(len(which), device=which.device)
        history = state["history"]
        length = history["length"][rows, which]
        mask = valid(length, self.history.window)
        names = ("ids", "frames", "log_probs", *(["words"] if self.words else []))
        ids, *rest = (history[name][rows, which] for name in names)
        return self._named(Tokens.where(mask, ids, lambda: tuple(rest)))

    def _named(self, tokens: Tokens) -> Tokens:
        return replace(tokens, texts=self.words.texts) if self.words else tokens

    def _final(self, state: State) -> Tensor:
        score = state["score"] + self.automata.final(state) if self.automata else state["score"]
        if self.fusion:
            score = score + self.fusion.final(state["fused"])
        if not self.words:
            return score
        return score + self.words.tensors(score.device).final(state["words"], score > -torch.inf)

    def _unfused(self, batch_size: int) -> State:
        """The language model's part of the state where texts begin."""
        return {"fused": self.fusion.initial_state(batch_size, self.beam)} if self.fusion else {}

    def _advance(self, frame: Tensor, state: State) -> tuple[State, tuple[Tensor, ...]]:
        """One frame of every row."""
        score, last, beam = state["score"], state["last"], self.beam
        expansion, log_probs = self.expand(frame, state)
        tokens, extended, joined = expansion.tokens, expansion.extended, expansion.joined
        bonus, automata = state["bonus"], state["automata"]
        gained = expansion.gained
        if self.fusion:
            fused = self.fusion.gained(state["fused"], tokens)
            gained = fused if gained is None else gained + fused
        if self.automata:
            must_fit(self.automata.symbols, log_probs.shape[-1])
            weights, reached = self.automata.step(state, tokens)
            gained = weights if gained is None else gained + weights
        if gained is not None:
            extended = extended + gained
        if self.words:
            must_fit(self.words.lexicon.symbols, log_probs.shape[-1])
            variants = self.words.tensors(tokens.device).step(state["words"], tokens)
            extended = extended[..., None] + variants.gained
            gained = variants.gained if gained is None else gained[..., None] + variants.gained
        if gained is not None:
            joined = joined + (bonus[:, None] - bonus[..., None])

        child = (state["hash"][..., None] == state["parent"][:, None]) & (score > -torch.inf)[:, None]
        arriving, parent = joined.masked_fill(~child, -torch.inf).max(1)
        same = child[..., None] & (tokens[:, :, None] == last[:, None, :, None])  # it is merged instead
        if self.words:
            same = same[..., None] & (variants.word[:, :, None] == state["words"]["last"][:, None, :, None, None])
        extended = extended.masked_fill(same.any(2), -torch.inf)
        stay = torch.logaddexp(expansion.stay, arriving)
        every = torch.cat([stay, extended.flatten(1)], 1)
        if self.words:
            # Homophones may score the same, and by look-ahead a word's end what its going on does: then the first is kept.
            best, index = (leaf[:, :beam] for leaf in every.sort(dim=1, descending=True, stable=True))
        else:
            best, index = every.topk(beam)
        if self.threshold:
            best = best.masked_fill(best < best[:, :1] - self.threshold, -torch.inf)
        stays, slot = index < beam, (index - beam).clamp(min=0)
        source = torch.where(stays, index, slot // extended.shape[2:].numel())
        tried = slot // extended.shape[-1] if self.words else slot
        token = torch.where(stays, last.gather(1, source), tokens.flatten(1).gather(1, tried))
        words = _moved(state["words"], variants, stays, source, slot) if self.words else {}
        label = token + words["last"] * self.words.lexicon.symbols if self.words else token

        merged = stays & (arriving > expansion.stay).gather(1, source)  # the other one is likelier and tells the times
        origin = torch.where(merged, parent.gather(1, source), source)
        at = state["frame"][:, None].expand_as(token)
        growth = Growth(origin, ~stays | merged, token, at, _confidence(log_probs, origin, token), words.get("last"))
        history, committed, alive = self.history.advance(state["history"], growth, best > -torch.inf)

        hashes = state["hash"].gather(1, source)
        longer = (hashes + label) * MULTIPLIER
        choice = Choice(source, stays, token, best, arriving, best[:, :1], alive)
        if self.automata:
            unmoved = automata.gather(1, source[..., None].expand_as(automata))
            advanced = reached.flatten(1, 2).gather(1, tried[..., None].expand_as(automata))
            automata = torch.where(stays[..., None], unmoved, advanced)
        if gained is not None:
            more = torch.where(stays, 0, gained.flatten(1).gather(1, slot))
            if self.words:
                more = more.masked_fill(more == -torch.inf, 0)  # of those that are out
            bonus = bonus.gather(1, source) + more
            bonus = bonus - bonus[:, :1]
        return {
            **state,
            **({"words": words} if self.words else {}),
            **({"fused": self.fusion.advance(state["fused"], choice)} if self.fusion else {}),
            "score": (best - best[:, :1]).masked_fill(~alive, -torch.inf),
            "bonus": bonus,
            "automata": automata,
            "last": token,
            "hash": torch.where(stays, hashes, longer ^ (longer >> 32)),
            "parent": torch.where(stays, state["parent"].gather(1, source), hashes),
            "history": history,
            "own": self.settle(frame, state, choice),
            "frame": state["frame"] + 1,
        }, committed


def grown(state: State, source: Tensor, new: Tensor, step: Callable[[State], State]) -> State:
    """A part of the state (B, K, …) of the hypotheses that come from ``source`` (B, K); those that are ``new`` (N,), counted
    through rows, take a ``step`` of their part (N, …)."""
    rows = torch.arange(len(source), device=source.device)[:, None] * source.shape[1]
    state = take(map_state(lambda leaf: leaf.flatten(0, 1), state), (rows + source).flatten())
    if len(new):
        # In place, for ``take`` has copied.
        state = map_state(lambda leaf, part: leaf.index_copy_(0, new, part), state, step(take(state, new)))
    return map_state(lambda leaf: leaf.unflatten(0, source.shape), state)


def _where(rows: Tensor, new: State, old: State) -> State:
    """The new state of these rows (B,), the old one of the others."""

    def pick(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(rows.view(-1, *[1] * (a.ndim - 1)), a, b)

    return map_state(pick, new, old)


def _moved(state: State, variants: Variants, stays: Tensor, source: Tensor, slot: Tensor) -> State:
    """Where in the tree the chosen hypotheses (B, K) are."""
    new = {"node": variants.node, "lm": variants.lm, "last": variants.word}
    return {
        name: torch.where(stays, state[name].gather(1, source), leaf.flatten(1).gather(1, slot))
        for name, leaf in new.items()
    }


def _confidence(log_probs: Tensor, origin: Tensor, token: Tensor) -> Tensor:
    """(B, K): the log-probability of ``token`` at this frame, among all but the blank, after the history ``origin``."""
    row = torch.arange(len(token), device=token.device)[:, None]
    history = origin if log_probs.shape[1] > 1 else torch.zeros_like(origin)  # CTC has one distribution for all
    return without_blank(log_probs[row, history, token], log_probs[row, history, BLANK])
