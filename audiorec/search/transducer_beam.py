"""Modified beam search for transducers: one symbol a frame at most, equal histories merged by adding their probabilities."""

from collections.abc import Sequence

import torch
from torch import Tensor

from audiorec.decoders import Joiner, Predictor
from audiorec.search.automaton import Automaton
from audiorec.search.beam import BeamSearch, Choice, Expansion
from audiorec.search.transducer import histories
from audiorec.search.words import Words
from audiorec.streaming import State, map_state, take
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
    ):
        self.ilm_weight = ilm_weight
        super().__init__(beam, window, automata, columns, joiner.output.out_features, words)
        self.predictor = predictor
        self.joiner = joiner

    def prepare(self, x: Tensor) -> Tensor:
        return self.joiner.encoder_proj(x)

    def initial_own(self, batch_size: int, device: torch.device | str) -> State:
        empty = self.predictor.initial_state(batch_size * self.beam)
        return self._by_row(histories(self.predictor, self.joiner, empty))

    def expand(self, frame: Tensor, state: State) -> tuple[Expansion, Tensor]:
        score, last = state["score"][..., None], state["last"]
        log_probs = self.joiner(frame[:, None], state["own"]["read"]).float().log_softmax(-1)
        best, tokens = log_probs[..., BLANK + 1 :].topk(min(self.tried, log_probs.shape[-1] - 1))
        joining = log_probs.gather(2, last[:, None].expand(-1, self.beam, -1))
        stay = state["score"] + log_probs[..., BLANK]
        gained = -self.ilm_weight * self.internal(state["own"]["read"]).gather(2, tokens) if self.ilm_weight else None
        return Expansion(stay, tokens + BLANK + 1, score + best, score + joining, gained), log_probs

    def internal(self, read: Tensor) -> Tensor:
        """What the joiner expects after histories that it ``read`` (…, J), had it heard nothing: log-probabilities of all tokens
        but the blank, (…, V − 1)."""
        return self.joiner(torch.zeros_like(read), read)[..., BLANK + 1 :].float().log_softmax(-1)

    def _try_enough(self) -> None:
        super()._try_enough()
        if self.ilm_weight:
            self.tried = 4 * self.beam

    def settle(self, frame: Tensor, state: State, choice: Choice) -> State:
        rows = torch.arange(len(choice.source), device=frame.device)[:, None] * self.beam
        own = take(map_state(lambda leaf: leaf.flatten(0, 1), state["own"]), (rows + choice.source).flatten())
        new = (choice.alive & ~choice.stays).flatten().nonzero()[:, 0]
        if len(new):
            symbols = choice.token.flatten()[new]
            grown = histories(self.predictor, self.joiner, self.predictor.step(symbols, take(own["predictor"], new)))
            # In place, for ``take`` has copied.
            own = map_state(lambda leaf, part: leaf.index_copy_(0, new, part), own, grown)
        return self._by_row(own)

    def _by_row(self, own: State) -> State:
        return map_state(lambda leaf: leaf.unflatten(0, (-1, self.beam)), own)
