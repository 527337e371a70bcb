"""Greedy transducer searches: at each frame the joiner's best symbol, over rows that each go on at their own pace."""

from collections.abc import Sequence

import torch
from torch import Tensor

from audiorec.decoders import Joiner, Predictor
from audiorec.search.greedy import GreedySearch
from audiorec.search.tokens import Tokens
from audiorec.streaming import State, put, take
from audiorec.text import BLANK

MAX_SYMBOLS = 10  # that a frame may emit, as in NeMo: an untrained model would never leave its first one


def histories(predictor: Predictor, joiner: Joiner, state: State) -> State:
    """The ``predictor``'s state beside ``read`` (N, J), what the joiner reads of it: float32 even under autocast."""
    read = joiner.predictor_proj(predictor.output(state))
    return {"predictor": state, "read": read.to(torch.promote_types(read.dtype, torch.float32))}


class TransducerGreedySearch(GreedySearch):
    """The best symbol given the frame and the symbols so far; a blank moves on to the next frame (Graves 2012).

    ``max_symbols`` a frame at most; 1 for a model of type ``modified`` or ``constrained``. Blanks are skipped in bulk: the
    joiner reads ``block`` frames beside one history, and what lies past the first symbol found is read again.

    State: ``predictor``, its state; ``read`` (B, J), what the joiner reads of it; ``frame`` (B,), frames seen; ``skip`` (B,),
    frames to come that a jump has passed over; ``decisions`` (B,), pairs of a frame and a history that had to be scored;
    ``margin`` (B,), the smallest gap so far between the two best scores of a decision: below 1e-4 a difference in words is
    a tie, not a bug.
    """

    def __init__(self, predictor: Predictor, joiner: Joiner, max_symbols: int = MAX_SYMBOLS, block: int = 8):
        self.predictor = predictor
        self.joiner = joiner
        self.max_symbols = max_symbols
        self.block = block

    @torch.no_grad()
    def initial_state(self, batch_size: int, device: torch.device | str = "cpu", owner: int | Tensor = 0) -> State:
        zeros = torch.zeros(batch_size, dtype=torch.int64, device=device)
        return {
            **histories(self.predictor, self.joiner, self.predictor.initial_state(batch_size)),
            "frame": zeros,
            "skip": zeros.clone(),
            "decisions": zeros.clone(),
            "margin": torch.full_like(zeros, torch.inf, dtype=torch.float32),
        }

    @torch.no_grad()
    def step(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tokens, State]:
        """The tokens that these frames add: x (B, T, C), lengths (B,) any from 0 to T, or None: all of T."""
        batch, time = x.shape[:2]
        frames = self.joiner.encoder_proj(x)
        if lengths is None:
            if self.block > 1 and 0 < time <= self.block and (blanks := self._blanks(frames, state)):
                return Tokens.none(batch, x.device), blanks
            lengths = torch.full_like(state["frame"], time)
        frames = frames.flatten(0, 1)
        grown = {name: state[name] for name in ("predictor", "read")}
        decisions, margin = state["decisions"].clone(), state["margin"].clone()
        at = state["skip"].clone()  # the frame that each row is at
        count = torch.zeros_like(at)  # symbols that it emitted there
        emitted, sure = [lengths.new_zeros(3, 0)], [x.new_zeros(0, dtype=torch.float32)]
        while len(rows := (at < lengths).nonzero()[:, 0]):
            here = at[rows]
            left = lengths[rows] - here
            ahead = torch.arange(min(self.block, time), device=x.device)
            look = here[:, None] + ahead
            seen = frames[rows[:, None] * time + look.clamp(max=time - 1)]
            logits = self.joiner(seen, grown["read"][rows, None]).float()
            symbols, moves, gaps = self._decide(logits)
            live = ahead < left[:, None]
            # Up to the first symbol, or to the last frame: what comes after has another history.
            new = (symbols != BLANK) & live
            last = torch.where(new.any(1), new.to(torch.uint8).argmax(1), live.sum(1) - 1)
            symbol, move = symbols.gather(1, last[:, None])[:, 0], moves.gather(1, last[:, None])[:, 0]
            gap = torch.where(ahead <= last[:, None], gaps, torch.inf).amin(1)
            margin[rows] = torch.minimum(margin[rows], gap)
            decisions[rows] += last + 1
            here += last

            emits = symbol != BLANK
            many = torch.where(last == 0, count[rows], 0) + emits
            move = torch.where(many >= self.max_symbols, move.clamp(min=1), move)
            at[rows] = here + move
            count[rows] = torch.where(move == 0, many, 0)
            if len(who := emits.nonzero()[:, 0]):  # a turn waits for the device here and at its rows, nowhere else
                frame = (state["frame"][rows] + here)[who]
                sure.append(self._confidence(logits[who, last[who]], symbol[who]))
                who, symbol = rows[who], symbol[who]
                emitted.append(torch.stack([who, symbol, frame]))
                after = self.predictor.step(symbol, take(grown["predictor"], who))
                grown = put(grown, who, histories(self.predictor, self.joiner, after))
        return Tokens.of(*torch.cat(emitted, 1), torch.cat(sure), batch), {
            **grown,
            "frame": state["frame"] + lengths,
            "skip": at - lengths,
            "decisions": decisions,
            "margin": margin,
        }

    def _blanks(self, frames: Tensor, state: State) -> State | None:
        """The state after these projected frames of whole rows if all of them are blanks, as most are in a live stream."""
        symbols, _, gaps = self._decide(self.joiner(frames, state["read"][:, None]).float())
        if symbols.any():
            return None
        return {
            **state,
            "frame": state["frame"] + frames.shape[1],
            "decisions": state["decisions"] + frames.shape[1],
            "margin": torch.minimum(state["margin"], gaps.amin(1)),
        }

    def _decide(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(…, V) → the best symbol, the frames it moves on by, and by how much it is the best."""
        best, symbols = logits.topk(2, -1)
        symbol = symbols[..., 0]
        return symbol, (symbol == BLANK).long(), best[..., 0] - best[..., 1]

    def _confidence(self, logits: Tensor, symbols: Tensor) -> Tensor:
        """(N, V), (N,) → (N,): the symbols' log-probabilities among all but the blank."""
        return logits[:, BLANK + 1 :].log_softmax(-1).gather(1, symbols[:, None] - BLANK - 1)[:, 0]


class TdtGreedySearch(TransducerGreedySearch):
    """The best symbol, then the best of the ``durations`` that it may last: so many frames are passed over (Xu et al. 2023).

    The joiner's outputs are the symbols', then one for each duration. A blank lasts at least one frame, as in the loss.
    """

    def __init__(self, predictor: Predictor, joiner: Joiner, durations: Sequence[int], max_symbols: int = MAX_SYMBOLS):
        super().__init__(predictor, joiner, max_symbols, block=1)  # most frames ahead would be passed over
        self.durations = tuple(durations)

    def _decide(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        durations = torch.tensor(self.durations, device=logits.device)
        symbol, _, gap = super()._decide(logits[..., : -len(durations)])
        lasting = logits[..., -len(durations) :]
        lasting = lasting.masked_fill((symbol == BLANK)[..., None] & (durations == 0), -torch.inf)
        if len(durations) == 1:
            return symbol, durations[0].expand_as(symbol), gap
        best, which = lasting.topk(2, -1)
        return symbol, durations[which[..., 0]], torch.minimum(gap, best[..., 0] - best[..., 1])

    def _confidence(self, logits: Tensor, symbols: Tensor) -> Tensor:
        return super()._confidence(logits[:, : -len(self.durations)], symbols)
