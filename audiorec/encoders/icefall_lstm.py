"""The encoder of icefall's LSTM transducer (``lstm_transducer_stateless3``): unpadded convolutions, LSTMs with projections."""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, FiniteFloat, PositiveInt
from torch import Tensor, nn

from audiorec.config import Config
from audiorec.encoders.dropout import Dropout
from audiorec.encoders.registry import ENCODERS
from audiorec.encoders.rnn import Lstm
from audiorec.encoders.stack import LAYERS, Stack, build_layers
from audiorec.errors import ConfigError
from audiorec.streaming import Carry, Linear, Pointwise, Sequential, State, StreamingModule, mask, mask_finite, valid

BINS = 3  # that a convolution sees, or all where fewer are left


class DoubleSwish(nn.Module):
    """x · sigmoid(x − 1): about swish(swish(x))."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (x - 1).sigmoid()


class BasicNorm(nn.Module):
    """x / √(mean(x²) + exp(eps)) over the channels, with one number ``eps`` that may learn: it keeps some of the length."""

    eps: Tensor

    def __init__(self, learns: bool = True):
        super().__init__()
        eps = torch.tensor(0.25).log()
        if learns:
            self.eps = nn.Parameter(eps)
        else:
            self.register_buffer("eps", eps)

    def forward(self, x: Tensor) -> Tensor:
        return x * (x.square().mean(-1, keepdim=True) + self.eps.exp()).rsqrt()


class UnpaddedConvs(StreamingModule):
    """Convolutions over time and frequency without padding, DoubleSwish after each: (B, T, bins) → (B, ceil(T / stride),
    planes · bins left).

    Output t sees the ``width`` frames from t · stride on: 9 of them for icefall's strides 1, 2, 2. icefall emits those alone that
    the utterance fills. Here width − 1 frames of ``padding`` follow it, so that ceil(T / stride) frames come out: the first are
    icefall's, and at its end stand ceil(width / stride) − 1, icefall's 2, that see padding too, as it has them in a batch
    whose other rows are longer.

    State: ``rest``, the frames that a later output sees.
    """

    def __init__(self, bins: int, planes: list[int], strides: list[int], kernel: int, padding: float):
        convs: list[nn.Module] = []
        before, left, width, stride = 1, bins, 1, 1
        for out, by in zip(planes, strides, strict=True):
            sees, across = max(kernel, by), min(BINS, left)
            convs += [nn.Conv2d(before, out, (sees, across), (by, by)), DoubleSwish()]
            before, left = out, (left - across) // by + 1
            width, stride = width + (sees - 1) * stride, stride * by
        super().__init__(bins, before * left)
        self.convs = nn.Sequential(*convs)
        self.stride = self.block = stride
        self.width, self.padding = width, padding
        self.carry = Carry(width - 1, bins)

    def reach(self, t: int) -> int:
        return t * self.stride + self.width - 1

    def initial_state(self, batch_size: int, ragged: bool = False) -> State:
        return {"rest": self.carry.initial_state(batch_size, self.zeros(0), ragged)}

    def advance(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, Tensor | None, State]:
        frames, total = self.carry.join(state["rest"], mask(x, lengths), lengths)
        count = self._outputs(frames.shape[1])
        if total is None:
            return (
                self._convolve(frames, count),
                None,
                {"rest": self.carry.keep(state["rest"], frames, count * self.stride, None)},
            )
        counts = ((total - self.width).div(self.stride, rounding_mode="floor") + 1).clamp(min=0)
        rest = self.carry.keep(state["rest"], frames, counts * self.stride, total)
        return mask_finite(self._convolve(frames, count), counts), counts, {"rest": rest}

    def flush(self, state: State) -> tuple[Tensor, Tensor | None]:
        frames, lengths = self.carry.rest(state["rest"], like=self._anchor)
        if lengths is not None:
            frames = frames.masked_fill(~valid(lengths, frames.shape[1])[..., None], self.padding)
        count = -(-frames.shape[1] // self.stride)
        y = self._convolve(F.pad(frames, (0, 0, 0, self.width - 1), value=self.padding), count)
        if lengths is None:
            return y, None
        counts = -(-lengths // self.stride)
        return mask_finite(y, counts), counts

    def _outputs(self, frames: int) -> int:
        return max((frames - self.width) // self.stride + 1, 0)

    def _convolve(self, frames: Tensor, count: int) -> Tensor:
        """The first ``count`` outputs."""
        if not count:
            return frames.new_zeros(frames.shape[0], 0, self.output_dim)
        seen = frames[:, : (count - 1) * self.stride + self.width]
        return self.convs(seen[:, None]).transpose(1, 2).flatten(2)


class IcefallLstmLayerConfig(Config):
    kind: Literal["icefall_lstm"] = "icefall_lstm"
    hidden: PositiveInt = Field(
        1024, description="cells, projected to the width within the recurrence where they are more"
    )
    feed_forward: PositiveInt = Field(2048, description="inner width of the feed-forward")
    dropout: float = Field(0.1, ge=0, lt=1, description="share of the numbers set to zero in training")


@LAYERS.register
class IcefallLstmLayer(StreamingModule):
    """``z = x + lstm(x)``, then norm(z + W₂ doubleswish(W₁ z)): (B, T, dim) → (B, T, dim). State: the LSTM's.

    icefall's balancers, filters of gradients and layer dropout act in its training alone, and are not here.
    """

    Config = IcefallLstmLayerConfig

    def __init__(self, config: IcefallLstmLayerConfig, dim: int, stride: int):
        if config.hidden < dim:
            raise ConfigError(f"encoder.hidden: {config.hidden} cells are fewer than the {dim} channels of a layer")
        super().__init__(dim, dim)
        self.lstm = Lstm(dim, dim, config.hidden if config.hidden > dim else None)
        inner = config.feed_forward
        self.feed_forward = nn.Sequential(
            Linear(dim, inner), DoubleSwish(), Dropout(config.dropout), Linear(inner, dim), Dropout(config.dropout)
        )
        self.norm = BasicNorm()
        self.dropout = Dropout(config.dropout)

    def initial_state(self, batch_size: int, ragged: bool = False) -> State:
        return self.lstm.initial_state(batch_size, ragged)

    def advance(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, Tensor | None, State]:
        x = mask(x, lengths)
        y, _, state = self.lstm.advance(x, lengths, state)
        return self._after_lstm(x, y, lengths), lengths, state

    def offline(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        x = mask(x, lengths)
        y, _ = self.lstm.offline(x, lengths)
        return self._after_lstm(x, y, lengths), lengths

    def _after_lstm(self, x: Tensor, y: Tensor, lengths: Tensor | None) -> Tensor:
        x = x + self.dropout(y)
        return mask_finite(self.norm(x + self.feed_forward(x)), lengths)


class IcefallLstmConfig(IcefallLstmLayerConfig):
    dim: PositiveInt = Field(512, description="width of every layer")
    layers: PositiveInt = Field(12, description="their number")
    strides: list[PositiveInt] = Field(
        [1, 2, 2], min_length=1, description="of the convolutions, in frames and in bins"
    )
    kernel: PositiveInt = Field(3, description="frames seen by each convolution, at least its stride")
    planes: PositiveInt = Field(8, description="of the first convolution; each later one has four times as many")
    padding: FiniteFloat = Field(0.0, description="value of the features that follow the last; icefall's is log(1e-10)")

    def subsampling(self, input_dim: int, output_dim: int) -> Sequential:
        """Convolutions without padding, one linear layer and a norm: (B, T, input_dim) → (B, T', output_dim)."""
        planes = [self.planes * 4**i for i in range(len(self.strides))]
        convs = UnpaddedConvs(input_dim, planes, self.strides, self.kernel, self.padding)
        inner = convs.output_dim
        out = Pointwise(Linear(inner, output_dim), inner, output_dim)
        return Sequential(convs=convs, out=out, norm=Pointwise(BasicNorm(learns=False), output_dim))


@ENCODERS.register
class IcefallLstmEncoder(Stack):
    """(B, T, input_dim) → (B, ceil(T / 4), dim): the encoder of icefall's ``lstm_transducer_stateless3``, whose weights
    ``audiorec import`` reads.

    Look-ahead: the convolutions' (``UnpaddedConvs``), 5 input frames past an output's own four. State, floats a stream: hidden +
    dim a layer, and 8 input frames.

    By default, of 80 features 100 times a second: 83.14 M parameters, latency 90 ms, state 76.3 kB, 2100.3 M multiply-adds/s.
    """

    Config = IcefallLstmConfig

    def __init__(self, config: IcefallLstmConfig, input_dim: int):
        one = IcefallLstmLayerConfig(**config.model_dump(include=set(IcefallLstmLayerConfig.model_fields)))
        super().__init__(config, input_dim, build_layers([one] * config.layers, config.dim, 1), norm=False)
