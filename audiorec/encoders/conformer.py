"""The Conformer encoder: FastConformer layers with cached attention, at every latency it was trained for."""

import math
from collections.abc import Collection
from typing import Literal

import torch
from audiorec_kernels.backends import tracing_for_onnx
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from audiorec.config import parse
from audiorec.encoders.attention import (
    AttentionConfig,
    AttentionOptions,
    Context,
    SelfAttention,
    without_bias,
)
from audiorec.encoders.dropout import Dropout
from audiorec.encoders.layers import FeedForward, depthwise_of_taps
from audiorec.encoders.registry import ENCODERS
from audiorec.encoders.stack import LAYERS, Stack, build_layers
from audiorec.errors import UserError
from audiorec.streaming import Carry, Linear, State, StreamingModule, last_frames, mask, mask_finite, share


class Convolution(StreamingModule):
    """The Conformer's convolution module (Gulati et al. 2020), causal, with LayerNorm instead of BatchNorm.

    ``x + W₂ silu(norm(depthwise(glu(W₁ norm(x)))))``, (B, T, dim) → (B, T, dim). State: ``left`` (B, kernel − 1, dim).
    """

    def __init__(self, dim: int, kernel: int, dropout: float = 0.0):
        super().__init__(dim, dim)
        self.kernel = kernel
        self.gated = nn.Sequential(nn.LayerNorm(dim), Linear(dim, 2 * dim), nn.GLU())
        self.depthwise = nn.Conv1d(dim, dim, kernel, groups=dim)
        self.out = nn.Sequential(nn.LayerNorm(dim), nn.SiLU(), Linear(dim, dim), Dropout(dropout))

    def initial_state(self, batch_size: int, ragged: bool = False) -> State:
        return {"left": self.zeros(batch_size, self.kernel - 1, self.input_dim)}

    def advance(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, Tensor | None, State]:
        x = mask(x, lengths)
        inner = self.gated(x)
        frames = torch.cat([state["left"].to(inner.dtype), inner], 1)
        if tracing_for_onnx():
            y = depthwise_of_taps(frames, self.depthwise)
        else:
            y = self.depthwise(frames.transpose(1, 2)).transpose(1, 2)
        y = x + self.out(y)
        left = last_frames(frames, lengths, self.kernel - 1).to(state["left"].dtype)
        return mask_finite(y, lengths), lengths, {"left": left}


class ConformerLayerConfig(AttentionOptions):
    kind: Literal["conformer"] = "conformer"
    conv_kernel: PositiveInt = Field(9, description="frames seen by the convolution, its own the last")
    left: NonNegativeInt = Field(64, description="frames before the chunk that attention sees")
    chunk: PositiveInt = Field(1, description="frames that see one another")
    right: NonNegativeInt = Field(0, description="frames seen ahead, where the chunk is 1")


@LAYERS.register
class ConformerLayer(StreamingModule):
    """Half a feed-forward, attention, convolution, half a feed-forward, norm: (B, T, dim) → (B, T, dim).

    State: ``attention`` and ``conv``, each module's own.
    """

    Config = ConformerLayerConfig

    def __init__(self, config: ConformerLayerConfig, dim: int, stride: int):
        super().__init__(dim, dim)
        context = Context(left=config.left, chunk=config.chunk, right=config.right)
        self.feed_forward1 = FeedForward(dim, config.expansion, config.dropout, scale=0.5)
        self.attention = SelfAttention(dim, config.heads, context, config.dropout, config.positions)
        self.conv = Convolution(dim, config.conv_kernel, config.dropout)
        self.feed_forward2 = FeedForward(dim, config.expansion, config.dropout, scale=0.5)
        self.norm = nn.LayerNorm(dim)

    @property
    def block(self) -> int:
        return self.attention.block

    def reach(self, t: int) -> int:
        return self.attention.reach(t)

    def initial_state(self, batch_size: int, ragged: bool = False) -> State:
        return {
            "attention": self.attention.initial_state(batch_size, ragged),
            "conv": self.conv.initial_state(batch_size, ragged),
        }

    def advance(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, Tensor | None, State]:
        x = self.feed_forward1(mask(x, lengths))
        x, lengths, attention = self.attention.advance(x, lengths, state["attention"])
        if x.shape[1] == 0:  # whole rows whose first look-ahead is not there yet
            return x, lengths, {"attention": attention, "conv": state["conv"]}
        x, conv = self._after_attention(x, lengths, state)
        return x, lengths, {"attention": attention, "conv": conv}

    def flush(self, state: State) -> tuple[Tensor, Tensor | None]:
        x, lengths = self.attention.flush(state["attention"])
        return (self._after_attention(x, lengths, state)[0] if x.shape[1] else x), lengths

    def _after_attention(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, State]:
        x, _, conv = self.conv.advance(x, lengths, state["conv"])
        return mask_finite(self.norm(self.feed_forward2(x)), lengths), conv


class ConformerConfig(AttentionConfig):
    kind: Literal["conformer"] = "conformer"
    conv_kernel: PositiveInt = Field(9, description="frames seen by each layer's convolution, its own the last")
    contexts: list[Context] = Field(
        [Context(left=64, chunk=13)],
        min_length=1,
        description="what attention may see; the first is used where none is chosen, training draws one per batch",
    )


@ENCODERS.register
class ConformerEncoder(Stack):
    """(B, T, input_dim) → (B, ceil(T / stride), dim): "Stateful Conformer with Cache-based Inference" (Noroozi et al.
    2024) on FastConformer layers (Rekesh et al. 2023).

    One model serves every context it was trained on: ``at_latency`` gives a view of it at another one. In training each
    ``forward`` draws one; ``step`` keeps to the first. The projected keys and values are kept, not computed anew.

    Look-ahead, in output frames and beyond the strides': chunk − 1, or layers · right. State, floats per stream and
    layer: dim · (2 · (left + right) + right + conv_kernel − 1); once dim · (chunk − 1) for what falls short of a chunk.
    Multiply-adds a frame and layer: dim² · (7 + 4 · expansion) + dim · (conv_kernel + 2 · (left + chunk + right)), and for
    rotations, once a chunk, 2 · dim · (left + right + 2 · chunk).
    By default, of 80 features 100 times a second: 3.14 M parameters, latency 520 ms, state 566.3 kB, 83.5 M multiply-adds/s.
    """

    Config = ConformerConfig

    def __init__(self, config: ConformerConfig, input_dim: int):
        shared = set(AttentionOptions.model_fields) | {"conv_kernel"}
        one = ConformerLayerConfig(**config.model_dump(include=shared))
        super().__init__(config, input_dim, build_layers([one] * config.layers, config.dim, 1), norm=False)
        without_bias(self.subsampling)
        self.contexts = tuple(config.contexts)
        self._use(config.contexts[0], drawn=self.contexts)

    def _use(self, context: Context, drawn: tuple[Context, ...]) -> None:
        self.context = context
        self.drawn = drawn
        self.changed()
        if context.full:
            return
        for _, layer in self.members[1:]:
            layer.attention.use(context)
            layer.changed()
        # What the first layer takes in whole chunks reaches the others in whole chunks.
        self.carries = {"layer0": Carry(context.chunk - 1, self.output_dim)} if context.chunk > 1 else {}

    def with_context(self, context: Context) -> "ConformerEncoder":
        """A light view in this context, trained on or not: it shares every weight; this encoder stays as it is."""
        view = share(self)
        view._use(context, drawn=(context,))
        return view

    def latencies(self, frame_ms: float) -> dict[float, Context]:
        """The look-aheads of the contexts trained on, in ms, for output frames of ``frame_ms``; inf is the full one."""
        layers = len(self.members) - 1
        # Of two with one look-ahead, the one listed first.
        return {context.lookahead(layers) * frame_ms: context for context in reversed(self.contexts)}

    def at_latency(self, ms: float, frame_ms: float, left: int | None = None) -> "ConformerEncoder":
        """A light view at this look-ahead of the attention, in ms; ``left`` changes the number of cached frames.

        Raises UserError where no context trained on has it.
        """
        offered = self.latencies(frame_ms)
        context = next((context for offer, context in offered.items() if math.isclose(offer, ms, abs_tol=0.01)), None)
        if context is None:
            choices = ", ".join(f"{offer:g}" for offer in sorted(offered))
            raise UserError(f"latency {ms:g} ms: this model was trained for {choices} ms")
        if left is not None:
            context = parse(Context, {**context.model_dump(), "left": left}, prefix="context")
        return self.with_context(context)

    def offline(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return super(ConformerEncoder, self._in_one_context(x)).offline(x, lengths)

    def tapped(
        self, x: Tensor, lengths: Tensor | None, layers: Collection[str]
    ) -> dict[str, tuple[Tensor, Tensor | None]]:
        return super(ConformerEncoder, self._in_one_context(x)).tapped(x, lengths, layers)

    def _in_one_context(self, x: Tensor) -> "ConformerEncoder":
        """Itself or a view, for an utterance x: in training in a context that is drawn."""
        context = self._draw() if self.training and len(self.drawn) > 1 else self.context
        if context.full:  # one chunk as long as the batch
            context = Context(left=0, chunk=max(2, self.total(x.shape[1])))
        return self if context is self.context else self.with_context(context)

    def _draw(self) -> Context:
        weights = torch.tensor([context.weight for context in self.drawn])
        return self.drawn[int(torch.multinomial(weights, 1))]

    # A full context has no end but the utterance's.

    def reach(self, t: int) -> float:
        return math.inf if self.context.full else super().reach(t)

    def initial_state(self, batch_size: int, ragged: bool = False) -> State:
        if self.context.full:
            raise UserError("conformer: a full context sees the whole utterance and cannot stream; choose a latency")
        return super().initial_state(batch_size, ragged)
