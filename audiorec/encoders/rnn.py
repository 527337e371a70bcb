"""The LSTM encoder: strided causal convolutions, then pre-norm residual LSTM layers."""

from typing import Literal

import torch
from audiorec_kernels.rnn import dense_lstm
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from audiorec.encoders.registry import ENCODERS
from audiorec.encoders.subsampling import SubsampledConfig, subsampling
from audiorec.streaming import Pointwise, Residual, Sequential, State, StreamingModule


class Lstm(StreamingModule):
    """One LSTM layer (Hochreiter and Schmidhuber 1997; gates as in ``torch.nn.LSTM``), (B, T, C) → (B, T, D).

    State: ``h`` and ``c`` (B, D), at each row's own length.
    """

    def __init__(self, input_dim: int, output_dim: int):
        super().__init__(input_dim, output_dim)
        self.weights = nn.LSTM(input_dim, output_dim)  # holds and initialises the weights; it is never called
        with torch.no_grad():  # remember from the start (Jozefowicz et al. 2015); the two biases are added
            self.weights.bias_ih_l0[output_dim : 2 * output_dim] = 1.0
            self.weights.bias_hh_l0[output_dim : 2 * output_dim] = 0.0

    def initial_state(self, batch_size: int) -> State:
        return {"h": self.zeros(batch_size, self.output_dim), "c": self.zeros(batch_size, self.output_dim)}

    def step(self, x: Tensor, lengths: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        self.check(x, lengths, state)
        w = self.weights
        weights = w.weight_ih_l0, w.weight_hh_l0, w.bias_ih_l0, w.bias_hh_l0
        y, (h, c) = dense_lstm(x, *weights, initial_state=(state["h"], state["c"]), lengths=lengths)
        return y, lengths, {"h": h.to(state["h"].dtype), "c": c.to(state["c"].dtype)}


class LstmConfig(SubsampledConfig):
    kind: Literal["lstm"] = "lstm"
    dim: PositiveInt = Field(256, description="width of every layer")
    layers: PositiveInt = 4
    dropout: float = Field(0.1, ge=0, lt=1)


@ENCODERS.register
class LstmEncoder(Sequential):
    """(B, T, input_dim) → (B, ceil(T / stride), dim). Look-ahead: that of the convolutions only.

    State, per stream: 2 · dim floats a layer, the convolutions' left frames, and what falls short of a block.
    """

    Config = LstmConfig

    def __init__(self, config: LstmConfig, input_dim: int):
        dim = config.dim
        layers = {f"layer{i}": Residual(_layer(dim, config.dropout)) for i in range(config.layers)}
        super().__init__(
            subsampling=subsampling(config, input_dim, dim),
            **layers,
            norm=Pointwise(nn.LayerNorm(dim), dim),
        )


def _layer(dim: int, dropout: float) -> Sequential:
    return Sequential(
        norm=Pointwise(nn.LayerNorm(dim), dim),
        lstm=Lstm(dim, dim),
        dropout=Pointwise(nn.Dropout(dropout), dim),
    )
