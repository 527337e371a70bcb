"""Modified beam search for transducers: one symbol a frame at most, equal histories merged by adding their probabilities."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from audiorec.decoders import Joiner, Predictor
from audiorec.search import native
from audiorec.search.automaton import Automaton
from audiorec.search.beam import BeamSearch, Choice, Expansion, grown
from audiorec.search.fusion import Fusion
from audiorec.search.tokens import Tokens
from audiorec.search.transducer import histories
from audiorec.search.words import Words
from audiorec.streaming import State, map_state
from audiorec.text import BLANK


class TransducerBeamSearch(BeamSearch):
    """As in icefall (Kuang et al. 2022): a hypothesis's score is the sum over its alignments of one symbol a frame.

    With ``ilm_weight`` that much of the transducer's internal language model is taken off for each token, so that another one may
    take its place: what joiner and predictor say without an encoder (Variani et al. 2020; Meng et al. 2021).

    Its own state: ``predictor``, with K states a row, and ``read`` (B, K, J), what the joiner reads of them.
    """

    def __init__(
        self,
        predictor: Predictor,
        joiner: Joiner,
        beam: int = 4,
        window: int = 64,
        automata: Sequence[Automaton] = (),
        columns: int = 0,
        words: Words | None = None,
        ilm_weight: float = 0.0,
        fusion: Fusion | None = None,
        threshold: float | None = None,
    ):
        self.ilm_weight = ilm_weight
        super().__init__(beam, window, automata, columns, joiner.output.out_features, words, fusion, threshold)
        self.predictor = predictor
        self.joiner = joiner

    def prepare(self, x: Tensor) -> Tensor:
        return self.joiner.encoder_proj(x)

    def initial_own(self, batch_size: int, device: torch.device | str) -> State:
        empty = histories(self.predictor, self.joiner, self.predictor.initial_state(batch_size * self.beam))
        return map_state(lambda leaf: leaf.unflatten(0, (batch_size, self.beam)), empty)

    def native(self, frames: Tensor, lengths: Tensor | None, state: State) -> tuple[Tokens, State]:
        outputs = self.joiner.output.out_features
        beam, after = native.beam_of(self, state, frames.shape[1], lengths, self.tried, outputs)
        own, here = state["own"], np.arange(self.beam)
        gains = self._gains(own)
        for t in range(frames.shape[1]):
            log_probs = self._log_probs(frames[:, t], own)
            source, token = beam.transducer(t, log_probs.contiguous(), gains)
            new = token.ravel().nonzero()[0]
            if len(new) or (source != here).any():
                own = self._grown(own, *map(torch.from_numpy, (source, new, token.ravel()[new])))
                gains = self._gains(own)
        return native.tokens_of(self, beam), {**after, "own": own}

    def expand(self, frame: Tensor, state: State) -> tuple[Expansion, Tensor]:
        score, last = state["score"][..., None], state["last"]
        log_probs = self._log_probs(frame, state["own"])
        best, tokens = log_probs[..., BLANK + 1 :].topk(min(self.tried, log_probs.shape[-1] - 1))
        joining = log_probs.gather(2, last[:, None].expand(-1, self.beam, -1))
        stay = state["score"] + log_probs[..., BLANK]
        tokens = tokens + BLANK + 1
        gains = self._gains(state["own"])
        gained = None if gains is None else gains.gather(2, tokens)
        return Expansion(stay, tokens, score + best, score + joining, gained), log_probs

    def _gains(self, own: State) -> Tensor | None:
        """What each symbol gains beside the model's score (B, K, V), by the history alone; None: nothing."""
        if not self.ilm_weight:
            return None
        return F.pad(-self.ilm_weight * self.internal(own["read"]), (BLANK + 1, 0))

    def internal(self, read: Tensor) -> Tensor:
        """What the joiner expects after histories that it ``read`` (…, J), had it heard nothing: log-probabilities of all tokens
        but the blank, (…, V − 1)."""
        return self.joiner(torch.zeros_like(read), read)[..., BLANK + 1 :].float().log_softmax(-1)

    def _try_enough(self) -> None:
        super()._try_enough()
        if self.ilm_weight:
            self.tried = 4 * self.beam

    def settle(self, frame: Tensor, state: State, choice: Choice) -> State:
        return self._grown(state["own"], choice.source, choice.new, choice.token.flatten()[choice.new])

    def _log_probs(self, frame: Tensor, own: State) -> Tensor:
        """Of a frame (B, J) after each hypothesis: (B, K, V)."""
        return self.joiner(frame[:, None], own["read"]).float().log_softmax(-1)

    def _grown(self, own: State, source: Tensor, new: Tensor, symbols: Tensor) -> State:
        """The hypotheses that come from ``source`` (B, K); ``new`` (N,) of them, counted through rows, have ``symbols`` more."""

        def step(old: State) -> State:
            return histories(self.predictor, self.joiner, self.predictor.step(symbols, old["predictor"]))

        return grown(own, source, new, step)
