"""The minGRU and minLSTM encoders: gates from the input alone, so that a layer is one linear recurrence."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from audiorec_kernels.conv import causal_conv1d
from audiorec_kernels.scan import linear_scan, linear_scan_step
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from audiorec.config import Config
from audiorec.encoders.layers import FeedForward
from audiorec.encoders.registry import ENCODERS
from audiorec.encoders.stack import LAYERS, PreNorm, Stack, build_layers
from audiorec.encoders.subsampling import SubsampledConfig
from audiorec.streaming import Linear, Pointwise, Sequential, State, StreamingModule, mask, mask_finite

# Frames that the cells remember at the start of training, log-uniform between these.
_MEMORY = 2.0, 64.0
# Frames up to which single steps are faster on a CPU.
_FEW = 4


class MinRnn(StreamingModule):
    """h_t = (1 − z_t) ⊙ h_{t−1} + z_t ⊙ h̃_t with z and h̃ from x_t alone (Feng et al. 2024), (B, T, C) → (B, T, D).

    The plain recurrence, not the paper's log-space one: over 10,000 frames float32 is off from float64 by 1.3e-7 of the
    largest output (1.5e-6 with memories of 1,000 frames), by 4.5e-4 with the paper's cumulative sums in log space, which
    breaks the law, and by 1.4e-7 frame by frame in log space, in four times the time. The plain one also takes h̃ of
    either sign, as in the paper's section 3, and needs no g(·) that makes it positive.

    State: ``h`` (B, D), at each row's own length. Subclasses say how many ``gates`` there are and what z's logit is.
    """

    gates: int

    def __init__(self, input_dim: int, output_dim: int):
        super().__init__(input_dim, output_dim)
        self.inputs = Linear(input_dim, (self.gates + 1) * output_dim)

    def initial_state(self, batch_size: int, ragged: bool = False) -> State:
        return {"h": self.zeros(batch_size, self.output_dim)}

    def logit(self, *gates: Tensor) -> Tensor:
        """The logit of z, from the pre-activations of the gates."""
        raise NotImplementedError

    def advance(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, Tensor | None, State]:
        *gates, candidate = self.inputs(mask(x, lengths)).chunk(self.gates + 1, -1)
        logit = self.logit(*gates)
        keep, added = torch.sigmoid(-logit), torch.sigmoid(logit) * candidate
        if x.shape[1] <= _FEW and x.is_cpu:
            y, h = _few(keep, added, state["h"], lengths)
        else:
            y, h = linear_scan(keep, added, initial_state=state["h"], lengths=lengths)
        return y, lengths, {"h": h}

    @torch.no_grad()
    def _remember(self, *signs: int) -> None:
        """Gate biases by which cells keep their memory for log-uniform times (as Tallec and Ollivier 2018 do uniformly)."""
        shortest, longest = map(math.log, _MEMORY)
        frames = torch.empty(self.output_dim).uniform_(shortest, longest).exp()
        for bias, sign in zip(self.inputs.bias.chunk(self.gates + 1), signs, strict=False):
            bias.copy_(sign * (frames - 1).log())


def _few(a: Tensor, b: Tensor, h: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """``linear_scan`` frame by frame. Ragged rows take the same way: another one may round h otherwise (law 8)."""
    outputs = []
    for t, (a_t, b_t) in enumerate(zip(a.unbind(1), b.unbind(1), strict=True)):
        after = linear_scan_step(a_t, b_t, h)
        h = after if lengths is None else torch.where(lengths[:, None] > t, after, h)
        outputs.append(h)
    y = outputs[0][:, None] if len(outputs) == 1 else torch.stack(outputs, 1)
    return mask_finite(y, lengths).to(b.dtype), h


class MinGru(MinRnn):
    """minGRU: z = σ(W_z x), h̃ = W_h x."""

    gates = 1

    def __init__(self, input_dim: int, output_dim: int):
        super().__init__(input_dim, output_dim)
        self._remember(-1)

    def logit(self, update: Tensor) -> Tensor:
        return update


class MinLstm(MinRnn):
    """minLSTM: f = σ(W_f x), i = σ(W_i x), h̃ = W_h x; both gates over f + i, so z = i / (f + i) and 1 − z = f / (f + i)."""

    gates = 2

    def __init__(self, input_dim: int, output_dim: int):
        super().__init__(input_dim, output_dim)
        self._remember(1, -1)

    def logit(self, forget: Tensor, update: Tensor) -> Tensor:
        return F.softplus(-forget) - F.softplus(-update)


class DepthwiseConv(StreamingModule):
    """Causal depthwise convolution, (B, T, dim) → (B, T, dim). State: ``left`` (B, kernel − 1, dim), the frames before."""

    def __init__(self, dim: int, kernel: int):
        super().__init__(dim, dim)
        self.conv = nn.Conv1d(dim, dim, kernel, groups=dim)  # holds the weights; it is never called

    def initial_state(self, batch_size: int, ragged: bool = False) -> State:
        return {"left": self.zeros(batch_size, self.conv.kernel_size[0] - 1, self.input_dim)}

    def advance(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, Tensor | None, State]:
        weights = self.conv.weight[:, 0], self.conv.bias
        y, left = causal_conv1d(mask(x, lengths), *weights, initial_state=state["left"], lengths=lengths)
        return y, lengths, {"left": left}


class MinRnnOptions(Config):
    """What the configs of the layers and of the encoders share."""

    conv_kernel: PositiveInt = Field(4, description="frames seen by each block's convolution, its own the last")
    expansion: PositiveInt = Field(2, description="cells of a block, over dim")
    mlp_expansion: PositiveInt = Field(2, description="width of a block's MLP, over dim")
    dropout: float = Field(0.1, ge=0, lt=1, description="share of the numbers set to zero in training")


class Block(Sequential):
    """Causal depthwise convolution, minRNN and MLP, each pre-norm and residual, (B, T, dim) → (B, T, dim)."""

    def __init__(self, config: MinRnnOptions, rnn: MinRnn):
        dim, dropout = rnn.input_dim, config.dropout
        mlp = FeedForward(dim, config.mlp_expansion, dropout, inner_dropout=0.0)
        super().__init__(
            conv=PreNorm(DepthwiseConv(dim, config.conv_kernel)),
            rnn=PreNorm(rnn, dropout, project=True),
            mlp=Pointwise(mlp, dim),
        )


class MinGruLayerConfig(MinRnnOptions):
    kind: Literal["min_gru"] = "min_gru"


@LAYERS.register
class MinGruLayer(Block):
    """A block of minGRU cells."""

    Config = MinGruLayerConfig

    def __init__(self, config: MinGruLayerConfig, dim: int, stride: int):
        super().__init__(config, MinGru(dim, dim * config.expansion))


class MinLstmLayerConfig(MinRnnOptions):
    kind: Literal["min_lstm"] = "min_lstm"


@LAYERS.register
class MinLstmLayer(Block):
    """A block of minLSTM cells."""

    Config = MinLstmLayerConfig

    def __init__(self, config: MinLstmLayerConfig, dim: int, stride: int):
        super().__init__(config, MinLstm(dim, dim * config.expansion))


class MinRnnConfig(MinRnnOptions, SubsampledConfig):
    """What the minGRU's and the minLSTM's configs share."""

    kind: str
    dim: PositiveInt = Field(192, description="width between the blocks")
    layers: PositiveInt = Field(6, description="their number")


class MinRnnEncoder(Stack):
    """(B, T, input_dim) → (B, ceil(T / stride), dim). Look-ahead: that of the strided convolutions only.

    Blocks of convolution, minRNN and MLP, as in Feng et al. 2024 ("Were RNNs all we needed?").
    """

    def __init__(self, config: MinRnnConfig, input_dim: int):
        one = {"kind": config.kind, **config.model_dump(include=set(MinRnnOptions.model_fields))}
        super().__init__(config, input_dim, build_layers([one] * config.layers, config.dim, 1))


class MinGruConfig(MinRnnConfig):
    kind: Literal["min_gru"] = "min_gru"


@ENCODERS.register
class MinGruEncoder(MinRnnEncoder):
    """A ``MinRnnEncoder`` of minGRU cells.

    State, per stream: expansion · dim + (conv_kernel − 1) · dim floats a block, the strided convolutions' left frames,
    and what falls short of a block.

    By default, of 80 features 100 times a second: 2.39 M parameters, latency 40 ms, state 27.1 kB, 61.2 M multiply-adds/s.
    """

    Config = MinGruConfig


class MinLstmConfig(MinRnnConfig):
    kind: Literal["min_lstm"] = "min_lstm"


@ENCODERS.register
class MinLstmEncoder(MinRnnEncoder):
    """A ``MinRnnEncoder`` of minLSTM cells.

    State as the minGRU's.

    By default, of 80 features 100 times a second: 2.83 M parameters, latency 40 ms, state 27.1 kB, 72.3 M multiply-adds/s.
    """

    Config = MinLstmConfig
