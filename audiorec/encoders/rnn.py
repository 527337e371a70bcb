"""The LSTM and GRU encoders: strided causal convolutions, then pre-norm residual recurrent layers."""

from collections.abc import Callable
from typing import Literal

import torch
from audiorec_kernels.rnn import dense_gru, dense_lstm
from pydantic import Field, PositiveInt, ValidationInfo, field_validator
from torch import Tensor, nn

from audiorec.encoders.dropout import Dropout
from audiorec.encoders.registry import ENCODERS
from audiorec.encoders.subsampling import StridedConv, SubsampledConfig, subsampling
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


class Gru(StreamingModule):
    """One GRU layer (Cho et al. 2014; reset after the product, as in ``torch.nn.GRU``), (B, T, C) → (B, T, D).

    State: ``h`` (B, D), at each row's own length.
    """

    def __init__(self, input_dim: int, output_dim: int):
        super().__init__(input_dim, output_dim)
        self.weights = nn.GRU(input_dim, output_dim)  # holds and initialises the weights; it is never called

    def initial_state(self, batch_size: int) -> State:
        return {"h": self.zeros(batch_size, self.output_dim)}

    def step(self, x: Tensor, lengths: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        self.check(x, lengths, state)
        w = self.weights
        weights = w.weight_ih_l0, w.weight_hh_l0, w.bias_ih_l0, w.bias_hh_l0
        y, h = dense_gru(x, *weights, initial_state=state["h"], lengths=lengths)
        return y, lengths, {"h": h.to(state["h"].dtype)}


class RnnConfig(SubsampledConfig):
    """What the configs of all recurrent encoders share."""

    kind: str
    dim: PositiveInt = Field(256, description="width between the layers")
    layers: PositiveInt = 4
    hidden: PositiveInt | None = Field(
        None, description="cells of a layer, projected back to dim; null: dim, unprojected"
    )
    reduce_after: list[PositiveInt] = Field([], description="layers, counted from 1, after which two frames become one")
    dropout: float = Field(0.1, ge=0, lt=1)

    @field_validator("reduce_after")
    @classmethod
    def _between_layers(cls, value: list[int], info: ValidationInfo) -> list[int]:
        layers = info.data.get("layers", 0)
        if len(set(value)) < len(value) or any(layer >= layers for layer in value):
            raise ValueError(f"takes different layers from 1 to {layers - 1}, the last but one")
        return value


class RnnEncoder(Sequential):
    """(B, T, input_dim) → (B, ceil(T / stride), dim). Look-ahead: that of the strided convolutions only.

    Layers are x + dropout(rnn(norm(x))), with a projection after the rnn where ``hidden`` is given (as in LSTMP, Sak et
    al. 2014, but outside the recurrence). ``reduce_after`` joins each two frames by a linear layer between two layers
    (time reduction, He et al. 2019) and doubles the stride. ``rnn(input_dim, output_dim)`` makes the recurrent layers.
    """

    def __init__(self, config: RnnConfig, input_dim: int, rnn: Callable[[int, int], StreamingModule]):
        dim = config.dim
        layers: dict[str, StreamingModule] = {}
        for i in range(config.layers):
            layers[f"layer{i}"] = Residual(_layer(config, rnn))
            if i + 1 in config.reduce_after:
                layers[f"reduction{i}"] = StridedConv(dim, dim, stride=2, kernel=2)
        super().__init__(
            subsampling=subsampling(config, input_dim, dim),
            **layers,
            norm=Pointwise(nn.LayerNorm(dim), dim),
        )


def _layer(config: RnnConfig, rnn: Callable[[int, int], StreamingModule]) -> Sequential:
    dim, hidden = config.dim, config.hidden or config.dim
    projection = {"projection": Pointwise(nn.Linear(hidden, dim), hidden, dim)} if config.hidden else {}
    return Sequential(
        norm=Pointwise(nn.LayerNorm(dim), dim),
        **{config.kind: rnn(dim, hidden)},
        **projection,
        dropout=Pointwise(Dropout(config.dropout), dim),
    )


class LstmConfig(RnnConfig):
    kind: Literal["lstm"] = "lstm"


@ENCODERS.register
class LstmEncoder(RnnEncoder):
    """An ``RnnEncoder`` of LSTM layers.

    State, per stream: 2 · hidden floats a layer, the convolutions' left frames, and what falls short of a block.

    By default, of 80 features 100 times a second: 2.34 M parameters, latency 40 ms, state 13.3 kB, 61.1 M multiply-adds/s.
    """

    Config = LstmConfig

    def __init__(self, config: LstmConfig, input_dim: int):
        super().__init__(config, input_dim, Lstm)


class GruConfig(RnnConfig):
    kind: Literal["gru"] = "gru"
    dim: PositiveInt = Field(288, description="width between the layers")


@ENCODERS.register
class GruEncoder(RnnEncoder):
    """An ``RnnEncoder`` of GRU layers, 288 wide so that it is the size of the LSTM's.

    State, per stream: hidden floats a layer, the convolutions' left frames, and what falls short of a block.

    By default, of 80 features 100 times a second: 2.28 M parameters, latency 40 ms, state 10.2 kB, 60.0 M multiply-adds/s.
    """

    Config = GruConfig

    def __init__(self, config: GruConfig, input_dim: int):
        super().__init__(config, input_dim, Gru)
