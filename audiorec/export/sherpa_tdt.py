"""A TDT transducer for sherpa-onnx, whose searches know no durations: the greedy search lies in the graph, and what it says
comes out as CTC would say it."""

import torch
from torch import Tensor

from audiorec.export.sherpa_parts import SURE, CtcChunk, Packed
from audiorec.models import AsrModel
from audiorec.models.transducer import TransducerHead
from audiorec.search import TdtGreedySearch
from audiorec.streaming import State, map_state
from audiorec.text import BLANK


class TdtChunk(CtcChunk):
    """As ``CtcChunk``. A frame becomes ``slots`` of them: one for each symbol that it may emit, and a blank after each, so
    that CTC's rule leaves all.

    State: the encoder's; ``predictor``, and ``begun`` (N,), without which it is that before any symbol; ``skip`` (N,), frames to
    come that a jump has passed over.
    """

    durations: Tensor

    def __init__(self, model: AsrModel, head: TransducerHead, chunk: int):
        super().__init__(model, head, chunk)
        search = head.search()
        assert isinstance(search, TdtGreedySearch)
        self.vocabulary = head.joiner.output.out_features - len(search.durations)
        self.symbols = search.max_symbols if 0 in search.durations else 1
        self.slots = 2 * self.symbols
        self.register_buffer("durations", torch.tensor(search.durations))
        none = torch.zeros(1, dtype=torch.int64)
        predictor = map_state(torch.zeros_like, head.predictor.initial_state(1))
        encoder = self.encoder.initial_state(1, ragged=True)
        self.state = Packed({"encoder": encoder, "predictor": predictor, "begun": none > 0, "skip": none})

    def said(self, x: Tensor, packed: Tensor) -> tuple[Tensor, Tensor]:
        state = self.state.unpack(packed)
        frames, missing, encoder = self.run(x, state["encoder"])
        first = self.head.predictor.initial_state(x.shape[0])
        predictor, skip, symbols = _where(state["begun"], state["predictor"], first), state["skip"], []
        for t in range(self.frames):
            there = ~missing[:, t, 0]
            live = there & (skip == 0)
            skip = torch.where(there, (skip - 1).clamp(min=0), skip)
            for i in range(self.symbols):
                symbol, move = self._decide(frames[:, t], predictor)
                if i + 1 == self.symbols:
                    move = move.clamp(min=1)
                symbol = torch.where(live, symbol, BLANK)
                predictor = _where(symbol != BLANK, self.head.predictor.step(symbol, predictor), predictor)
                skip = torch.where(live & (move > 0), move - 1, skip)
                live = live & (move == 0)
                symbols += [symbol, torch.zeros_like(symbol)]
        chosen = torch.stack(symbols, 1)[..., None] == torch.arange(self.vocabulary)
        begun = state["begun"] | ~missing[:, -1, 0]
        after = {"encoder": encoder, "predictor": predictor, "begun": begun, "skip": skip}
        return SURE * (chosen.to(frames.dtype) - 1), self.state.pack(after)

    def _decide(self, frame: Tensor, predictor: State) -> tuple[Tensor, Tensor]:
        """The best symbol (N,) of a frame (N, J) after these histories, and the frames that it lasts: a blank at least one."""
        joiner = self.head.joiner
        logits = joiner(frame, joiner.predictor_proj(self.head.predictor.output(predictor)))
        symbol, lasting = logits[:, : self.vocabulary].argmax(1), logits[:, self.vocabulary :]
        stays = (symbol == BLANK)[:, None] & (self.durations == 0)
        return symbol, self.durations[lasting.masked_fill(stays, -torch.inf).argmax(1)]


def _where(condition: Tensor, a: State, b: State) -> State:
    """Rows of ``a`` where the condition (N,) holds, else of ``b``."""
    return map_state(lambda x, y: torch.where(condition.view(-1, *[1] * (x.ndim - 1)), x, y), a, b)
