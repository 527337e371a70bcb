"""Self-attention that streams: who sees whom, and projected keys and values kept between steps."""

import math
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from audiorec.config import Config
from audiorec.encoders.dropout import Dropout
from audiorec.encoders.positions import Positions, Relative, rotary_table, rotate
from audiorec.encoders.subsampling import SubsampledConfig
from audiorec.errors import ConfigError
from audiorec.streaming import Linear, State, StreamingModule, last_frames, mask, mask_finite, window

M = TypeVar("M", bound=nn.Module)
# Minimum number of queries a window: products of fewer are slow.
_MIN_SPAN = 8


class Context(Config):
    """What a frame sees in every layer: ``left`` frames before its chunk, its chunk, ``right`` frames after.

    ``chunk: 1`` alone is the *causal* style; ``right`` makes it *regular*, a look-ahead that adds up over layers;
    a longer ``chunk`` shares one look-ahead of at most chunk − 1 frames among all layers.
    """

    left: NonNegativeInt = Field(64, description="frames seen before the chunk; their keys and values are the state")
    chunk: PositiveInt | None = Field(1, description="frames that see one another; null: all of them (offline only)")
    right: NonNegativeInt = Field(0, description="frames seen ahead in each layer, where the chunk is 1")
    weight: PositiveFloat = Field(1.0, description="drawn in training in proportion to this, where there are several")

    @model_validator(mode="after")
    def _sensible(self) -> "Context":
        if self.right and self.chunk != 1:
            raise ValueError(f"right looks ahead frame by frame and needs chunk 1, not chunk {self.chunk}")
        if self.left == self.right == 0 and self.chunk == 1:
            raise ValueError("with left 0, right 0 and chunk 1 a frame sees itself alone")
        return self

    @property
    def full(self) -> bool:
        return self.chunk is None

    def lookahead(self, layers: int) -> float:
        """The most frames ahead of its own that a frame sees through so many layers."""
        return math.inf if self.full else self.chunk - 1 + self.right * layers

    def __str__(self) -> str:
        return "full" if self.full else f"left {self.left}, chunk {self.chunk}, right {self.right}"


def visible(context: Context, queries: Tensor, keys: Tensor) -> Tensor:
    """(Q, K) bool: whether the frame at place ``queries[i]`` sees the one at ``keys[j]``; 0 is where some chunk starts.

    The one mask of every style, in training and in streaming.
    """
    start = queries[:, None].div(context.chunk, rounding_mode="floor") * context.chunk
    return (keys >= start - context.left) & (keys < start + context.chunk + context.right)


class SelfAttention(StreamingModule):
    """``x + W softmax(q kᵀ / √d) v`` with q, k, v from norm(x), (B, T, dim) → (B, T, dim): pre-norm, residual.

    Positions are rotary (Su et al. 2021), or Transformer-XL's (``Relative``), whose added scores keep the fused kernels out.
    Keys are kept unrotated and turned by their place in the window that is attended to, so that angles stay small and
    exact however long the stream; only differences of places matter.

    Offline too the cost is O(T · (left + chunk + right)): queries go in windows of ``span`` frames.

    Look-ahead: chunk − 1, or ``right``: a frame that waits for it is held as it came, query and residual in one.
    State: ``cache`` (B, left + right, 2 · dim), projected keys and values; ``length`` (B,), how many of them are frames
    of the row, the last ones; with ``right`` the frames that wait for their look-ahead: of whole rows ``held`` (B, N, dim), of
    ragged rows ``ahead`` (B, right, dim), the last ``length[b]`` of it.
    """

    def __init__(self, dim: int, heads: int, context: Context, dropout: float = 0.0, positions: Positions = "rotary"):
        if dim % (2 * heads):
            raise ConfigError(f"encoder.heads: must divide dim {dim} into even parts, got {heads}")
        super().__init__(dim, dim)
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.query = Linear(dim, dim)
        self.key_value = Linear(dim, 2 * dim)
        self.out = nn.Sequential(Linear(dim, dim), Dropout(dropout))
        self.relative = Relative(dim, heads) if positions == "relative" else None
        self.use(context)

    def use(self, context: Context) -> None:
        """Attend in this context from now on; states of another one no longer fit."""
        self.context = context
        self.block = context.chunk
        self.around = context.left + context.right
        self.changed()
        self.span = -(-max(self.around, _MIN_SPAN) // self.block) * self.block
        width = self.around + self.span
        if self.relative is not None:
            self.relative.use(context.left, self.span, width)
        else:
            table = rotary_table(width, self.input_dim // self.heads)
            self.register_buffer("rotary", table.to(self._anchor), persistent=False)

    def _apply(self, fn: Any, recurse: bool = True) -> "SelfAttention":
        super()._apply(fn, recurse)
        self.use(self.context)  # a cast from float32 to float64 would keep float32's rounding
        return self

    def reach(self, t: int) -> int:
        return t // self.context.chunk * self.context.chunk + self.context.chunk - 1 + self.context.right

    def initial_state(self, batch_size: int, ragged: bool = False) -> State:
        dim, right = self.input_dim, self.context.right
        state = {
            "cache": self.zeros(batch_size, self.around, 2 * dim),
            "length": self.zeros(batch_size, dtype=torch.int64),
        }
        if right and ragged:
            state["ahead"] = self.zeros(batch_size, right, dim)
        elif right:
            state["held"] = self.zeros(batch_size, 0, dim)
        return state

    def advance(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, Tensor | None, State]:
        right, time = self.context.right, x.shape[1]
        x = mask(x, lengths)
        name = "held" if lengths is None else "ahead"
        x = torch.cat([state[name].to(x.dtype), x], 1) if right else x
        normed = self.norm(x)
        held = x.shape[1] - time
        projected = self.key_value(normed[:, held:] if held else normed)
        cache = torch.cat([state["cache"].to(projected.dtype), projected], 1)
        count = max(held + time - right, 0)  # queries whose look-ahead is there
        y = self._attend(self.query(normed[:, :count] if right else normed), cache, held, state["length"], lengths)
        y, y_lengths = self._emit(x[:, :count] + y if right else x + y, state["length"], lengths)
        grown = state["length"] + (time if lengths is None else lengths)
        new = {
            "cache": last_frames(cache, lengths, self.around).to(state["cache"].dtype),
            "length": grown.clamp(max=self.around),
        }
        if right:
            kept = x[:, count:] if lengths is None else window(x, lengths, right)
            new[name] = kept.to(state[name].dtype)
        return y, y_lengths, new

    def flush(self, state: State) -> tuple[Tensor, Tensor | None]:
        right = self.context.right
        if not right:
            return super().flush(state)
        whole = "held" in state
        held = state["held" if whole else "ahead"].to(self.query.weight.dtype)
        none = torch.zeros_like(state["length"])
        cache = F.pad(state["cache"], (0, 0, 0, held.shape[1]))
        y = held + self._attend(self.query(self.norm(held)), cache, held.shape[1], state["length"], none)
        if whole:
            return y, None
        return self._emit(y, state["length"], none + right)

    def _emit(self, y: Tensor, held: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Without the places, at the front, of frames before the row's first."""
        right = self.context.right
        if lengths is None or not right:
            return mask_finite(y, lengths), lengths
        held = held.clamp(max=right)
        lengths = (held + lengths - right).clamp(min=0)
        return mask_finite(window(y, right - held, y.shape[1]), lengths), lengths

    def _attend(self, q: Tensor, cache: Tensor, held: int, kept: Tensor, lengths: Tensor | None) -> Tensor:
        """Queries (B, N, dim) of frames that begin ``held`` frames before the cache's new ones → (B, N, dim).

        ``cache`` (B, around + T, 2 · dim) holds T new frames at its end. Of a row's keys, the last ``kept[b]`` before
        ``around`` and the first ``lengths[b]`` after it, or all of them, are frames.
        """
        count, left = q.shape[1], self.context.left
        if count == 0:
            return q
        if early := self.context.right - held:  # whole rows that have just begun: their queries need fewer keys
            cache = cache[:, early:]
        around = self.around - early
        span = min(self.span, count)
        width = self.around + span
        heads = self.heads, q.shape[2] // self.heads
        short = -count % span
        if short:
            cache, q = F.pad(cache, (0, 0, 0, short)), F.pad(q, (0, 0, 0, short))
        allowed = self._allowed(cache.shape[1], around, span, short, kept, lengths)

        windows = cache.shape[1] - width
        if windows:
            cache = cache.unfold(1, width, span).transpose(2, 3)
        k, v = cache.reshape(-1, width, 2, *heads).permute(2, 0, 3, 1, 4).to(q.dtype)
        q = q.reshape(-1, span, *heads).transpose(1, 2)
        if self.relative is not None:
            q, added = self.relative(q, width)
            allowed = torch.where(allowed, added, -math.inf)
        else:
            q, k = rotate(q, self.rotary[:, left : left + span]), rotate(k, self.rotary[:, :width])
        scale = math.sqrt(q.shape[3])
        if self.relative is not None and torch.compiler.is_compiling():
            # Written out: of a mask of numbers the fused kernel gives another layout than what the exporter puts in its place.
            y = (q @ k.transpose(2, 3) / scale + allowed).softmax(-1) @ v
        elif self.relative is None and q.is_cpu and q.dtype == torch.bfloat16 and q.requires_grad:
            # Written out: backward, a CPU's fused kernel takes three to four times as long in bfloat16.
            y = (q @ k.transpose(2, 3) / scale).masked_fill(~allowed, -math.inf).softmax(-1).to(q.dtype) @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        y = y.transpose(1, 2).reshape(kept.shape[0], -1, self.input_dim)
        return self.out(y[:, :count] if short else y)

    def _allowed(self, size: int, around: int, span: int, short: int, kept: Tensor, lengths: Tensor | None) -> Tensor:
        """(B · windows, 1, span, width) bool, or 1 in the place of span: which keys of its window a query may see."""
        left, width = self.context.left, self.around + span
        place = torch.arange(size, device=kept.device)
        exists = place >= around - kept[:, None]
        if lengths is not None:
            exists = exists & (place < around + lengths[:, None])
        elif short:
            exists = exists & (place < size - short)
        if size > width:
            exists = exists.unfold(1, width, span).reshape(-1, width)
        exists = exists[:, None, None]
        if span == self.context.chunk and not self.context.right and lengths is None and not short:
            return exists  # one chunk, which sees all of its window
        queries, keys = place[left : left + span], place[:width]
        seen = visible(self.context, queries - left, keys - left)
        # A query past its row's end sees itself, so that no softmax is over nothing.
        return seen & exists | (queries[:, None] == keys)


class AttentionOptions(Config):
    """What the configs of attention layers and encoders share."""

    heads: PositiveInt = Field(4, description="of attention; each takes dim / heads channels, an even number")
    positions: Positions = Field("rotary", description="rotary, or relative as in Transformer-XL")
    expansion: PositiveInt = Field(4, description="of the feed-forwards' inner width")
    dropout: float = Field(0.1, ge=0, lt=1, description="share of the numbers set to zero in training")


class AttentionConfig(AttentionOptions, SubsampledConfig):
    """What the configs of attention encoders share."""

    dim: PositiveInt = Field(128, description="width of every layer")
    layers: PositiveInt = Field(8, description="their number")


def without_bias(module: M) -> M:
    """The module with all biases at zero.

    Attention compares frames. What a bias adds to all of them, at torch's initial size, drowns what tells them apart:
    through strided convolutions, gradients of the queries were left with half of float32's digits.
    """
    for name, parameter in module.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
    return module
