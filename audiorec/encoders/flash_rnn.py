"""The flash LSTM and GRU encoders: the ``lstm`` and ``gru`` encoders with a recurrence in heads, one kernel a layer."""

from typing import Literal

import torch
import torch.nn.functional as F
from audiorec_kernels.rnn import dense_gru, dense_lstm, gru, lstm
from pydantic import Field, PositiveInt, ValidationInfo, field_validator
from torch import Tensor, nn

from audiorec.encoders.registry import ENCODERS
from audiorec.encoders.rnn import RnnConfig, RnnEncoder, RnnLayerConfig
from audiorec.encoders.stack import LAYERS, PreNorm
from audiorec.errors import ConfigError
from audiorec.streaming import Linear, State, StreamingModule, mask


class FlashRnn(StreamingModule):
    """A recurrent layer whose cells stand in H heads: a head's state reaches its own gates alone (Pöppel et al. 2024).

    (B, T, input_dim) → (B, T, output_dim). ``recurrent`` (H, D, gates, D) is the recurrent matrix of
    ``torch.nn.LSTM`` or ``GRU``, block-diagonal; with one head it is the whole matrix. Subclasses say how many ``gates``
    there are and run the kernel.
    """

    gates: int

    def __init__(self, input_dim: int, output_dim: int, heads: int):
        super().__init__(input_dim, output_dim)
        size = output_dim // heads
        self.head_sizes = heads, size
        self.inputs = Linear(input_dim, self.gates * output_dim)
        self.recurrent = nn.Parameter(torch.empty(heads, size, self.gates, size).uniform_(-(size**-0.5), size**-0.5))

    def project(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """The kernel's wx (B, T, gates, H, D), R and b; the bias is added there, in float32."""
        wx = F.linear(mask(x, lengths), self.inputs.weight)
        return self._by_head(wx), self.recurrent, self._by_head(self.inputs.bias)

    def whole(self) -> tuple[Tensor, Tensor, Tensor]:
        """With one head, what torch's own layer takes: the weights of input and state, and the input's bias."""
        return self.inputs.weight, self.recurrent[0].flatten(1).T, self.inputs.bias

    def _by_head(self, gates: Tensor) -> Tensor:
        return gates.unflatten(-1, (self.gates, *self.head_sizes))


class FlashLstm(FlashRnn):
    """An LSTM layer in heads; gates i, f, g, o. State: ``h`` and ``c`` (B, H, D), at each row's own length."""

    gates = 4

    def __init__(self, input_dim: int, output_dim: int, heads: int):
        super().__init__(input_dim, output_dim, heads)
        with torch.no_grad():  # remember from the start (Jozefowicz et al. 2015)
            self.inputs.bias[output_dim : 2 * output_dim] = 1.0

    def initial_state(self, batch_size: int, ragged: bool = False) -> State:
        return {"h": self.zeros(batch_size, *self.head_sizes), "c": self.zeros(batch_size, *self.head_sizes)}

    def advance(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, Tensor | None, State]:
        if self.head_sizes[0] == 1:  # torch's own layer is the faster one
            w_ih, w_hh, bias = self.whole()
            states = state["h"][:, 0], state["c"][:, 0]
            y, states = dense_lstm(x, w_ih, w_hh, bias, torch.zeros_like(bias), states, lengths)
            h, c = (s[:, None].to(state["h"].dtype) for s in states)
            return y, lengths, {"h": h, "c": c}
        y, (h, c) = lstm(*self.project(x, lengths), (state["h"], state["c"]), lengths)
        return y.flatten(2), lengths, {"h": h, "c": c}


class FlashGru(FlashRnn):
    """A GRU layer in heads; gates r, z, n, reset after the product. State: ``h`` (B, H, D), at each row's own length."""

    gates = 3

    def __init__(self, input_dim: int, output_dim: int, heads: int):
        super().__init__(input_dim, output_dim, heads)
        self.reset_bias = nn.Parameter(torch.zeros(output_dim))

    def initial_state(self, batch_size: int, ragged: bool = False) -> State:
        return {"h": self.zeros(batch_size, *self.head_sizes)}

    def advance(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, Tensor | None, State]:
        if self.head_sizes[0] == 1:  # torch's own layer is the faster one
            w_ih, w_hh, bias = self.whole()
            bias_hh = torch.cat([bias.new_zeros(2 * self.output_dim), self.reset_bias])
            y, h = dense_gru(x, w_ih, w_hh, bias, bias_hh, state["h"][:, 0], lengths)
            return y, lengths, {"h": h[:, None].to(state["h"].dtype)}
        b_n = self.reset_bias.view(self.head_sizes)
        y, h = gru(*self.project(x, lengths), b_n, state["h"], lengths)
        return y.flatten(2), lengths, {"h": h}


class FlashConfig(RnnConfig):
    """What the flash LSTM's and GRU's configs share."""

    layers: PositiveInt = Field(6, description="their number")
    heads: PositiveInt = Field(4, description="independent recurrences of a layer; divides its cells")

    @field_validator("heads")
    @classmethod
    def _divides_the_cells(cls, value: int, info: ValidationInfo) -> int:
        cells = info.data.get("hidden") or info.data.get("dim", 0)
        if cells % value:
            raise ValueError(f"must divide the {cells} cells of a layer (hidden, or else dim)")
        return value


class FlashLayerConfig(RnnLayerConfig):
    """What the configs of the flash LSTM's and GRU's layers share."""

    heads: PositiveInt = Field(4, description="independent recurrences; divides the cells")

    def cells(self, dim: int) -> int:
        """The cells of a layer of width ``dim``. Raises ConfigError where the heads do not divide them."""
        cells = self.hidden or dim
        if cells % self.heads:
            raise ConfigError(
                f"encoder.heads: {self.heads} must divide the {cells} cells of a layer (hidden, or else dim)"
            )
        return cells


class FlashLstmLayerConfig(FlashLayerConfig):
    kind: Literal["flash_lstm"] = "flash_lstm"


@LAYERS.register
class FlashLstmLayer(PreNorm):
    """An LSTM in heads in a pre-norm residual."""

    Config = FlashLstmLayerConfig

    def __init__(self, config: FlashLstmLayerConfig, dim: int, stride: int):
        mixer = FlashLstm(dim, config.cells(dim), config.heads)
        super().__init__(mixer, config.dropout, project=config.hidden is not None)


class FlashGruLayerConfig(FlashLayerConfig):
    kind: Literal["flash_gru"] = "flash_gru"


@LAYERS.register
class FlashGruLayer(PreNorm):
    """A GRU in heads in a pre-norm residual."""

    Config = FlashGruLayerConfig

    def __init__(self, config: FlashGruLayerConfig, dim: int, stride: int):
        mixer = FlashGru(dim, config.cells(dim), config.heads)
        super().__init__(mixer, config.dropout, project=config.hidden is not None)


class FlashLstmConfig(FlashConfig):
    kind: Literal["flash_lstm"] = "flash_lstm"


@ENCODERS.register
class FlashLstmEncoder(RnnEncoder):
    """An ``RnnEncoder`` of LSTM layers in heads.

    State as the LSTM's.

    By default, of 80 features 100 times a second: 2.21 M parameters, latency 40 ms, state 17.4 kB, 57.7 M multiply-adds/s.
    """

    Config = FlashLstmConfig

    def __init__(self, config: FlashLstmConfig, input_dim: int):
        super().__init__(config, input_dim, heads=config.heads)


class FlashGruConfig(FlashConfig):
    kind: Literal["flash_gru"] = "flash_gru"
    layers: PositiveInt = Field(8, description="their number")


@ENCODERS.register
class FlashGruEncoder(RnnEncoder):
    """An ``RnnEncoder`` of GRU layers in heads, eight so that it is the size of the flash LSTM's.

    State as the GRU's.

    By default, of 80 features 100 times a second: 2.21 M parameters, latency 40 ms, state 13.3 kB, 57.7 M multiply-adds/s.
    """

    Config = FlashGruConfig

    def __init__(self, config: FlashGruConfig, input_dim: int):
        super().__init__(config, input_dim, heads=config.heads)
