"""The LSTM and GRU encoders: strided causal convolutions, then pre-norm residual recurrent layers."""

from typing import Any, Literal

import torch
from audiorec_kernels.rnn import dense_gru, dense_lstm, dense_lstm_states, trains_natively
from pydantic import Field, PositiveInt, ValidationInfo, field_validator
from torch import Tensor, nn

from audiorec.config import Config
from audiorec.encoders.registry import ENCODERS
from audiorec.encoders.stack import LAYERS, PreNorm, Stack
from audiorec.encoders.subsampling import StridedConv, SubsampledConfig
from audiorec.streaming import State, StreamingModule, mask, mask_finite


class Lstm(StreamingModule):
    """One LSTM layer (Hochreiter and Schmidhuber 1997; gates as in ``torch.nn.LSTM``), (B, T, C) → (B, T, D).

    With ``cells``, so many of them, whose output a map to D channels follows within the recurrence (Sak et al. 2014).
    State: ``h`` (B, D) and ``c`` (B, D or ``cells``), at each row's own length.
    """

    def __init__(self, input_dim: int, output_dim: int, cells: int | None = None):
        super().__init__(input_dim, output_dim)
        self.cells = cells or output_dim
        # Holds and initialises the weights; it is never called.
        self.weights = nn.LSTM(input_dim, self.cells, proj_size=output_dim if cells else 0)
        with torch.no_grad():  # remember from the start (Jozefowicz et al. 2015); the two biases are added
            self.weights.bias_ih_l0[self.cells : 2 * self.cells] = 1.0
            self.weights.bias_hh_l0[self.cells : 2 * self.cells] = 0.0

    def initial_state(self, batch_size: int, ragged: bool = False) -> State:
        return {"h": self.zeros(batch_size, self.output_dim), "c": self.zeros(batch_size, self.cells)}

    @property
    def _projection(self) -> Tensor | None:
        return self.weights.weight_hr_l0 if self.weights.proj_size else None

    def advance(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, Tensor | None, State]:
        before, weights = (state["h"], state["c"]), _weights(self.weights)
        y, (h, c) = dense_lstm(x, *weights, initial_state=before, lengths=lengths, projection=self._projection)
        return y, lengths, {"h": h.to(before[0].dtype), "c": c.to(before[1].dtype)}

    def offline(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        # Padding stands at the end, and no one asks for the state there: nothing has to hold it.
        y, _ = dense_lstm(mask(x, lengths), *_weights(self.weights), projection=self._projection)
        return mask_finite(y, lengths), lengths

    def states(self, x: Tensor, lengths: Tensor | None, state: State) -> State | None:
        """The states after every frame of ``x`` (B, T, C), with leaves (B, T, D); None where no kernel trains them at once.

        ``h`` is the output, too. Past a row's length they are zero.
        """
        weights = _weights(self.weights)
        if self._projection is not None or not trains_natively(x, weights):
            return None
        h, c = dense_lstm_states(x, *weights, (state["h"], state["c"]), lengths)
        return {"h": h, "c": c}


class Gru(StreamingModule):
    """One GRU layer (Cho et al. 2014; reset after the product, as in ``torch.nn.GRU``), (B, T, C) → (B, T, D).

    State: ``h`` (B, D), at each row's own length.
    """

    def __init__(self, input_dim: int, output_dim: int):
        super().__init__(input_dim, output_dim)
        self.weights = nn.GRU(input_dim, output_dim)  # holds and initialises the weights; it is never called

    def initial_state(self, batch_size: int, ragged: bool = False) -> State:
        return {"h": self.zeros(batch_size, self.output_dim)}

    def advance(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, Tensor | None, State]:
        y, h = dense_gru(x, *_weights(self.weights), initial_state=state["h"], lengths=lengths)
        return y, lengths, {"h": h.to(state["h"].dtype)}

    def offline(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        y, _ = dense_gru(mask(x, lengths), *_weights(self.weights))
        return mask_finite(y, lengths), lengths


def _weights(layer: nn.LSTM | nn.GRU) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, layer.bias_hh_l0


class RnnLayerConfig(Config):
    """What the configs of all recurrent layers share."""

    kind: str
    hidden: PositiveInt | None = Field(None, description="cells, projected back to dim; null: dim, unprojected")
    dropout: float = Field(0.1, ge=0, lt=1, description="share of the numbers set to zero in training")


class RnnConfig(SubsampledConfig):
    """What the configs of all recurrent encoders share."""

    kind: str
    dim: PositiveInt = Field(256, description="width between the layers")
    layers: PositiveInt = Field(4, description="their number")
    hidden: PositiveInt | None = Field(
        None, description="cells of a layer, projected back to dim; null: dim, unprojected"
    )
    reduce_after: list[PositiveInt] = Field([], description="layers, counted from 1, after which two frames become one")
    dropout: float = Field(0.1, ge=0, lt=1, description="share of the numbers set to zero in training")

    @field_validator("reduce_after")
    @classmethod
    def _between_layers(cls, value: list[int], info: ValidationInfo) -> list[int]:
        layers = info.data.get("layers", 0)
        if len(set(value)) < len(value) or any(layer >= layers for layer in value):
            raise ValueError(f"takes different layers from 1 to {layers - 1}, the last but one")
        return value


class RnnEncoder(Stack):
    """(B, T, input_dim) → (B, ceil(T / stride), dim). Look-ahead: that of the strided convolutions only.

    Layers are x + dropout(rnn(norm(x))), with a projection after the rnn where ``hidden`` is given (as in LSTMP, Sak et
    al. 2014, but outside the recurrence). ``reduce_after`` joins each two frames by a linear layer between two layers
    (time reduction, He et al. 2019) and doubles the stride. The layers are those of the encoder's kind.
    """

    def __init__(self, config: RnnConfig, input_dim: int, **options: Any):
        one = {"kind": config.kind, "hidden": config.hidden, "dropout": config.dropout, **options}
        layers: dict[str, StreamingModule] = {}
        for i in range(config.layers):
            layers[f"layer{i}"] = LAYERS.build(one, config.dim, 1)
            if i + 1 in config.reduce_after:
                layers[f"reduction{i}"] = StridedConv(config.dim, config.dim, stride=2, kernel=2)
        super().__init__(config, input_dim, layers)


class LstmLayerConfig(RnnLayerConfig):
    kind: Literal["lstm"] = "lstm"


@LAYERS.register
class LstmLayer(PreNorm):
    """An LSTM in a pre-norm residual."""

    Config = LstmLayerConfig

    def __init__(self, config: LstmLayerConfig, dim: int, stride: int):
        super().__init__(Lstm(dim, config.hidden or dim), config.dropout, project=config.hidden is not None)


class LstmConfig(RnnConfig):
    kind: Literal["lstm"] = "lstm"


@ENCODERS.register
class LstmEncoder(RnnEncoder):
    """An ``RnnEncoder`` of LSTM layers.

    State, per stream: 2 · hidden floats a layer, the convolutions' left frames, and what falls short of a block.

    By default, of 80 features 100 times a second: 2.34 M parameters, latency 40 ms, state 13.3 kB, 60.9 M multiply-adds/s.
    """

    Config = LstmConfig


class GruLayerConfig(RnnLayerConfig):
    kind: Literal["gru"] = "gru"


@LAYERS.register
class GruLayer(PreNorm):
    """A GRU in a pre-norm residual."""

    Config = GruLayerConfig

    def __init__(self, config: GruLayerConfig, dim: int, stride: int):
        super().__init__(Gru(dim, config.hidden or dim), config.dropout, project=config.hidden is not None)


class GruConfig(RnnConfig):
    kind: Literal["gru"] = "gru"
    dim: PositiveInt = Field(288, description="width between the layers")


@ENCODERS.register
class GruEncoder(RnnEncoder):
    """An ``RnnEncoder`` of GRU layers, 288 wide so that it is the size of the LSTM's.

    State, per stream: hidden floats a layer, the convolutions' left frames, and what falls short of a block.

    By default, of 80 features 100 times a second: 2.28 M parameters, latency 40 ms, state 10.2 kB, 59.8 M multiply-adds/s.
    """

    Config = GruConfig
