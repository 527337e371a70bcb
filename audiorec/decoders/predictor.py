"""``Predictor``: the part of a transducer that reads the symbols so far, all at once or one by one."""

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from audiorec.config import Config, Registry
from audiorec.streaming import State
from audiorec.text import BLANK

PREDICTORS = Registry("predictor")


class PredictorConfig(Config):
    """What the configs of all predictors share."""

    kind: str
    start: Literal["blank", "zero"] = Field(
        "blank", description="what every history begins with: the blank's embedding, or a vector of zeros"
    )

    def embedding(self, vocabulary: int, dim: int) -> nn.Embedding:
        """That of the symbols. With ``start`` zero the blank's is a zero that does not learn, as in NeMo and icefall."""
        return nn.Embedding(vocabulary, dim, padding_idx=BLANK if self.start == "zero" else None)


class Predictor(nn.Module):
    """Symbols → (…, ``output_dim``). Whole sequences in training. A search keeps a state for each row, and updates only the
    rows that emit a symbol:

        state = predictor.initial_state(3)
        y = predictor.output(state)                          # (3, P), before any symbol
        rows = torch.tensor([0, 2])                          # those that emitted
        state = put(state, rows, predictor.step(symbols, take(state, rows)))

    Every history starts with the blank. ``output`` after each step equals ``forward`` of the whole sequence.
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
        """(B, P): the joiner's input after each row's symbols."""
        raise NotImplementedError
