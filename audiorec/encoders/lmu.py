"""The LMU encoder: strided causal convolutions, then Legendre memories, plain or in the arrangement of LMUFormer."""

import math
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from audiorec_kernels import full_precision
from audiorec_kernels.lti import lti_scan, lti_scan_step
from pydantic import Field, PositiveInt, ValidationInfo, field_validator
from torch import Tensor, nn

from audiorec.config import Config
from audiorec.encoders.layers import FeedForward
from audiorec.encoders.registry import ENCODERS
from audiorec.encoders.stack import LAYERS, PreNorm, Stack
from audiorec.encoders.subsampling import StridedConv, SubsampledConfig
from audiorec.streaming import Linear, Pointwise, Sequential, State, StreamingModule, mask, mask_finite

# Frames up to which single steps are faster on a CPU.
_FEW = 4
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def legendre_memory(order: int, theta: float) -> tuple[Tensor, Tensor]:
    """A (d, d) and B (d,) in float64: m ← A m + B u keeps the last ``theta`` frames of u in ``order`` numbers.

    θ m' = a m + b u with a_ij = (2i + 1) · (−1 if i < j, else (−1)^{i−j+1}) and b_i = (2i + 1) (−1)^i (Voelker, Kajić and
    Eliasmith 2019, eq. 2), made discrete by zero-order hold. u(t − τ) ≈ Σ_i P_i(2τ/θ − 1) m_i(t), P_i of Legendre.
    """
    i = torch.arange(order, dtype=torch.float64)[:, None]
    j = i.T
    a = (2 * i + 1) * torch.where(i < j, -1.0, -((-1.0) ** (i - j)))
    b = (2 * i + 1) * (-1.0) ** i
    # u stands still for a frame, so it is one more state whose derivative is 0.
    held = F.pad(torch.cat([a, b], 1), (0, 0, 0, 1)) / theta
    A, B = torch.linalg.matrix_exp(held)[:order].split([order, 1], 1)
    return A, B[:, 0]


class Lmu(StreamingModule):
    """A Legendre memory unit without the loop through its output (Chilkuri and Eliasmith 2021), (B, T, dim) → (B, T, dim).

        u = W_u x + b_u                        ``channels`` signals
        m = A m + B u                          each kept over the last ``theta`` frames in ``order`` numbers
        output = GELU(W_m m + W_x x + b)

    A and B are fixed. State: ``memory`` (B, channels, order), at each row's own length.
    """

    def __init__(self, dim: int, channels: int, order: int, theta: float):
        super().__init__(dim, dim)
        self.signals = Linear(dim, channels)
        self.from_memory = Linear(channels * order, dim)
        self.from_input = Linear(dim, dim, bias=False)
        A, B = legendre_memory(order, theta)
        self.register_buffer("A", A.float(), persistent=False)
        self.register_buffer("B", B.float(), persistent=False)

    def initial_state(self, batch_size: int, ragged: bool = False) -> State:
        return {"memory": self.zeros(batch_size, self.signals.out_features, len(self.B))}

    def advance(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, Tensor | None, State]:
        x = mask(x, lengths)
        signals, before = self.signals(x), state["memory"]
        if lengths is None and x.shape[1] <= _FEW and x.is_cpu:
            m, memory = self._few(signals, before)
        else:
            m, memory = lti_scan(signals, self.A, self.B, initial_state=before, lengths=lengths)
        y = F.gelu(self.from_memory(m.flatten(2)) + self.from_input(x))
        return mask_finite(y, lengths), lengths, {"memory": memory}

    def _few(self, signals: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """``lti_scan`` frame by frame, which is how it takes ragged rows of so few frames, too: the same bits (law 8)."""
        memories = []
        with full_precision(memory):
            for u in signals.unbind(1):
                memory = lti_scan_step(u, self.A, self.B, memory)
                memories.append(memory)
        m = memories[0][:, None] if len(memories) == 1 else torch.stack(memories, 1)
        return m.to(signals.dtype), memory


class LmuOptions(Config):
    """What the configs of the layer and of the encoder share."""

    channels: PositiveInt = Field(48, description="signals that each layer remembers")
    order: PositiveInt = Field(16, description="numbers that keep one signal (d)")
    frame: Seconds = Field(0.01, description="seconds from one input frame to the next")
    dropout: float = Field(0.1, ge=0, lt=1, description="share of the numbers set to zero in training")


class LmuLayerConfig(LmuOptions):
    kind: Literal["lmu"] = "lmu"
    theta: Seconds = Field(0.8, description="seconds remembered")


@LAYERS.register
class LmuLayer(PreNorm):
    """A Legendre memory unit and a linear map in a pre-norm residual."""

    Config = LmuLayerConfig

    def __init__(self, config: LmuLayerConfig, dim: int, stride: int):
        theta = config.theta / (config.frame * stride)
        super().__init__(Lmu(dim, config.channels, config.order, theta), config.dropout, project=True)


class LmuConfig(LmuOptions, SubsampledConfig):
    kind: Literal["lmu"] = "lmu"
    arrangement: Literal["plain", "lmuformer"] = Field("plain", description="what stands around each memory")
    dim: PositiveInt = Field(256, description="width of every layer")
    layers: PositiveInt = Field(6, description="their number")
    theta: list[Seconds] = Field([0.8], description="seconds remembered: one number for all layers, or one each")
    embedding_layers: PositiveInt = Field(2, description="lmuformer: convolutions after the strided ones")
    expand: PositiveInt = Field(2, description="lmuformer: width inside the channel mixer, as a multiple of dim")

    @field_validator("embedding_layers", "expand")
    @classmethod
    def _of_lmuformer(cls, value: int, info: ValidationInfo) -> int:
        if info.data.get("arrangement") == "plain" and value != cls.model_fields[info.field_name].default:
            raise ValueError("does nothing in arrangement plain; choose lmuformer, or leave it out")
        return value

    @field_validator("theta", mode="before")
    @classmethod
    def _one_for_all(cls, theta: Any) -> Any:
        return [theta] if isinstance(theta, (int, float)) else theta

    @field_validator("theta")
    @classmethod
    def _one_each(cls, theta: list[float], info: ValidationInfo) -> list[float]:
        layers = info.data.get("layers")
        if layers and len(theta) not in (1, layers):
            raise ValueError(f"give one number, or one for each of the {layers} layers")
        return theta


@ENCODERS.register
class LmuEncoder(Stack):
    """(B, T, input_dim) → (B, ceil(T / stride), dim). Look-ahead: that of the strided convolutions only.

    ``plain``: pre-norm residual layers of an LMU and a linear map. ``lmuformer`` is the arrangement of Liu et al. 2024
    (LMUFormer): a patch embedding of convolutions with a kernel of 3, each with norm and GELU, then blocks of a residual
    LMU and a residual channel mixer of two 1×1 convolutions. Theirs looks ahead by a frame at each convolution and
    normalises over the batch; here the convolutions see the past alone and the norms one frame.

    State, per stream: channels · order floats a layer, the convolutions' left frames, and what falls short of a block.

    By default, of 80 features 100 times a second: 2.28 M parameters, latency 40 ms, state 23.5 kB, 61.4 M multiply-adds/s.
    As lmuformer, of 80 features 100 times a second: 4.00 M parameters, latency 40 ms, state 27.6 kB, 104.0 M multiply-adds/s.
    """

    Config = LmuConfig

    def __init__(self, config: LmuConfig, input_dim: int):
        dim, former = config.dim, config.arrangement == "lmuformer"
        layers: dict[str, StreamingModule] = {}
        if former:
            layers |= {f"embedding{i}": _embedding(config) for i in range(config.embedding_layers)}
        options = config.model_dump(include=set(LmuOptions.model_fields))
        thetas = config.theta * config.layers if len(config.theta) == 1 else config.theta
        for i, theta in enumerate(thetas):
            layers[f"layer{i}"] = LmuLayer(LmuLayerConfig(**options, theta=theta), dim, math.prod(config.strides))
            if former:
                mixer = FeedForward(dim, config.expand, config.dropout, activation=nn.GELU, inner_dropout=0.0)
                layers[f"mixer{i}"] = Pointwise(mixer, dim)
        super().__init__(config, input_dim, layers)


def _embedding(config: LmuConfig) -> Sequential:
    dim = config.dim
    return Sequential(
        conv=StridedConv(dim, dim, stride=1, kernel=3, separable=config.separable),
        norm=Pointwise(nn.Sequential(nn.LayerNorm(dim), nn.GELU()), dim),
    )
