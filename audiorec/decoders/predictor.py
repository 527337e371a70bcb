"""``Predictor``: the part of a transducer that reads the symbols given so far, all at once or one by one."""

from torch import Tensor, nn

from audiorec.config import Registry
from audiorec.streaming import State

PREDICTORS = Registry("predictor")


class Predictor(nn.Module):
    """Symbols → (…, ``output_dim``). Whole sequences in training; in a search a state for each row, which only that row's
    own symbols move on:

        state = predictor.initial_state(3)
        y = predictor.output(state)                          # (3, P), before any symbol
        rows = torch.tensor([0, 2])                          # those that emitted
        state = put(state, rows, predictor.step(symbols, take(state, rows)))

    Every history starts with the blank. ``output`` of the states on the way and ``forward`` of the whole are one.
    """

    output_dim: int

    def forward(self, symbols: Tensor) -> Tensor:
        """(B, S) int64 → (B, S+1, P): the output before the first symbol and after each."""
        raise NotImplementedError

    def initial_state(self, batch_size: int) -> State:
        """The state of rows that have no symbol yet."""
        raise NotImplementedError

    def step(self, symbols: Tensor, state: State) -> State:
        """The state after one more symbol (B,) of each row. Pure."""
        raise NotImplementedError

    def output(self, state: State) -> Tensor:
        """(B, P): what the joiner reads after each row's symbols."""
        raise NotImplementedError
