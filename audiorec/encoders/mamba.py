"""The Mamba encoder: strided causal convolutions, then pre-norm residual selective state-space blocks."""

import math
from typing import Literal

import torch
from audiorec_kernels.conv import causal_conv1d
from audiorec_kernels.product import linear
from audiorec_kernels.ssm import selective_scan, selective_scan_step
from pydantic import Field, NonNegativeInt, PositiveInt, ValidationInfo, field_validator
from torch import Tensor, nn

from audiorec.config import Config
from audiorec.encoders.blstm import Bidirectional, Windows
from audiorec.encoders.registry import ENCODERS
from audiorec.encoders.stack import LAYERS, PreNorm, Stack, build_layers
from audiorec.encoders.subsampling import SubsampledConfig
from audiorec.streaming import Linear, State, StreamingModule, mask

# A channel's step before training lies between these, in frames (Gu and Dao 2023, section 3.6).
_DT_MIN, _DT_MAX = 1e-3, 1e-1


class Mamba(StreamingModule):
    """The selective state-space block of Gu and Dao 2023 (section 3.4), (B, T, input_dim) → (B, T, output_dim).

    With E = expand · output_dim channels and N = ``state_size``:

        x, z = W_in input                                   in-projection to E channels and their gate
        x = SiLU(conv(x))                                   causal, depthwise, ``kernel`` frames
        dt, B, C = W_x x                                    of sizes ``dt_rank``, N and N
        dt = softplus(W_dt dt + bias)                       (E,)
        h = exp(dt A) h + dt B x,   A = −exp(A_log)         (E, N)
        output = W_out ((C h + D x) · SiLU(z))

    A starts at −1 … −N in every channel, and dt log-uniform between 0.001 and 0.1. ``A_log`` and ``D`` are read in
    float32 under autocast too and take no weight decay. State: ``conv`` (B, kernel − 1, E) and ``ssm`` (B, E, N), at each
    row's own length.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        state_size: int = 16,
        expand: int = 2,
        kernel: int = 4,
        dt_rank: int | None = None,
    ):
        super().__init__(input_dim, output_dim)
        inner = expand * output_dim
        self.sizes = dt_rank or math.ceil(input_dim / 16), state_size, state_size
        self.in_proj = Linear(input_dim, 2 * inner, bias=False)
        self.conv = nn.Conv1d(inner, inner, kernel, groups=inner)  # holds and initialises weights; it is never called
        self.x_proj = Linear(inner, sum(self.sizes), bias=False)
        self.dt_proj = Linear(self.sizes[0], inner)
        self.A_log = nn.Parameter(torch.arange(1.0, state_size + 1).log().repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = Linear(inner, output_dim, bias=False)
        for parameter in (self.A_log, self.D, self.dt_proj.bias):
            parameter._no_weight_decay = True
        with torch.no_grad():
            dt = torch.empty(inner).uniform_(math.log(_DT_MIN), math.log(_DT_MAX)).exp()
            self.dt_proj.bias.copy_(dt + torch.log(-torch.expm1(-dt)))  # softplus of it is dt
            self.dt_proj.weight.uniform_(-(self.sizes[0] ** -0.5), self.sizes[0] ** -0.5)

    def initial_state(self, batch_size: int, ragged: bool = False) -> State:
        channels, _, kernel = self.conv.weight.shape
        return {
            "conv": self.zeros(batch_size, kernel - 1, channels),
            "ssm": self.zeros(batch_size, *self.A_log.shape),
        }

    def advance(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, Tensor | None, State]:
        x, z = self.in_proj(mask(x, lengths)).chunk(2, -1)
        x, conv = causal_conv1d(x, self.conv.weight[:, 0], self.conv.bias, "silu", state["conv"], lengths)
        dt, B, C = self.x_proj(x).split(self.sizes, -1)
        dt = linear(dt, self.dt_proj.weight)  # its bias is added in the scan, in float32
        A, D, bias, before = -torch.exp(self.A_log), self.D, self.dt_proj.bias, state["ssm"]
        if lengths is None and x.shape[1] == 1:  # two frames are faster in one call
            u, dt, B, C, z = (frames[:, 0] for frames in (x, dt, B, C, z))
            y, ssm = selective_scan_step(u, dt, A, B, C, D, z, bias, initial_state=before)
            y = y[:, None]
        else:
            y, ssm = selective_scan(x, dt, A, B, C, D, z, bias, initial_state=before, lengths=lengths)
        return self.out_proj(y), lengths, {"conv": conv, "ssm": ssm}


class MambaOptions(Config):
    """What the configs of the layer and of the encoder share."""

    state_size: PositiveInt = Field(16, description="states of each channel (N)")
    expand: PositiveInt = Field(2, description="channels inside a block, as a multiple of dim")
    conv_kernel: PositiveInt = Field(4, description="frames seen by the convolution in each block")
    dt_rank: PositiveInt | None = Field(None, description="rank of the step's projection; dim / 16 if not given")
    dropout: float = Field(0.1, ge=0, lt=1, description="share of the numbers set to zero in training")

    def mamba(self, dim: int, output_dim: int) -> Mamba:
        return Mamba(dim, output_dim, self.state_size, self.expand, self.conv_kernel, self.dt_rank)


class MambaLayerConfig(MambaOptions):
    kind: Literal["mamba"] = "mamba"


@LAYERS.register
class MambaLayer(PreNorm):
    """A selective state-space block in a pre-norm residual."""

    Config = MambaLayerConfig

    def __init__(self, config: MambaLayerConfig, dim: int, stride: int):
        super().__init__(config.mamba(dim, dim), config.dropout)


class MambaConfig(MambaOptions, SubsampledConfig):
    kind: Literal["mamba"] = "mamba"
    dim: PositiveInt = Field(256, description="width between the blocks")
    layers: PositiveInt = Field(6, description="their number")
    chunk: PositiveInt | None = Field(16, description="bidirectional: encoder frames computed together; null: all")
    look_ahead: NonNegativeInt = Field(8, description="bidirectional: encoder frames seen after the chunk")
    bidirectional: bool = Field(False, description="half of dim for each direction, under the window rule of blstm")

    @field_validator("bidirectional")
    @classmethod
    def _halves(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("dim", 0) % 2:
            raise ValueError("dim must be even: half of it is the width of each direction")
        return value


@ENCODERS.register
class MambaEncoder(Stack):
    """(B, T, input_dim) → (B, ceil(T / stride), dim). Look-ahead: that of the convolutions only.

    ``bidirectional``: each layer has a block for either direction, under the rule of ``Windows``: the backward one starts
    at the end of each chunk's window, and the look-ahead is the BLSTM's, chunk − 1 + look_ahead encoder frames more. With
    ``chunk: null`` it sees whole utterances and cannot stream.

    State, per stream: expand · dim · (state_size + conv_kernel − 1) floats a layer, the strided convolutions' left
    frames, and what falls short of a block.

    By default, of 80 features 100 times a second: 2.87 M parameters, latency 40 ms, state 238.5 kB, 77.8 M multiply-adds/s.
    """

    Config = MambaConfig

    def __init__(self, config: MambaConfig, input_dim: int):
        dim = config.dim
        if config.bidirectional:
            both = [
                Bidirectional(config.mamba(dim, dim // 2), config.mamba(dim, dim // 2), config.dropout)
                for _ in range(config.layers)
            ]
            layers = {"layers": Windows(both, dim, config.chunk, config.look_ahead)}
        else:
            one = MambaLayerConfig(**config.model_dump(include=set(MambaOptions.model_fields)))
            layers = build_layers([one] * config.layers, dim, 1)
        super().__init__(config, input_dim, layers)
