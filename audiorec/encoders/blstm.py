"""The bidirectional LSTM encoder: whole utterances, or latency-controlled, whose backward direction starts in every chunk."""

import math
from collections.abc import Iterable
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeInt, PositiveInt, field_validator
from torch import Tensor, nn

from audiorec.encoders.dropout import Dropout
from audiorec.encoders.registry import ENCODERS
from audiorec.encoders.rnn import Lstm
from audiorec.encoders.stack import Stack
from audiorec.encoders.subsampling import SubsampledConfig
from audiorec.errors import UserError
from audiorec.streaming import Carry, State, StreamingModule, map_state, mask, mask_finite, stack


class Bidirectional(nn.Module):
    """One layer, x + dropout(forwards ‖ backwards)(norm(x)), over windows; both directions are causal modules of stride 1."""

    def __init__(self, forwards: StreamingModule, backwards: StreamingModule, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(forwards.input_dim)
        self.forwards = forwards
        self.backwards = backwards
        self.dropout = Dropout(dropout)

    def forward(
        self, x: Tensor, chunk: int, chunk_lengths: Tensor | None, window_lengths: Tensor | None, state: State
    ) -> tuple[Tensor, State]:
        """Windows ``x`` (N, B, chunk + look-ahead, D); ``state`` is the forward direction's, before the first of them.

        Of each row's window ``window_lengths`` (N, B) frames are valid, ``chunk_lengths`` of them in its chunk; a window
        without any is skipped. None: all are whole. Returns the windows' outputs and the forward direction's state after the
        last chunk.
        """
        frames = self.norm(x)
        forwards, states, state = run_chunks(self.forwards, frames[:, :, :chunk], chunk_lengths, state)
        if x.shape[2] > chunk:
            ahead = None if chunk_lengths is None else (window_lengths - chunk_lengths).flatten()
            y, _, _ = self.forwards.advance(frames[:, :, chunk:].flatten(0, 1), ahead, states)
            forwards = torch.cat([forwards, y.unflatten(0, x.shape[:2])], 2)
        lengths = None if window_lengths is None else window_lengths.flatten()
        flipped = reverse(frames.flatten(0, 1), lengths)
        backwards, _ = self.backwards.offline(flipped, lengths)
        backwards = reverse(backwards, lengths).unflatten(0, x.shape[:2])
        return x + self.dropout(torch.cat([forwards, backwards], -1)), state


def run_chunks(module: StreamingModule, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, State, State]:
    """A causal module over chunks ``x`` (N, B, T, D) that follow one another, of which ``lengths`` (N, B) frames are valid.

    Returns its outputs (N, B, T, D), the states after every chunk, N · B rows, and the last of them. A row's chunks are whole
    up to its last one.
    """
    if len(x) > 1 and isinstance(module, Lstm) and (at_once := _all_at_once(module, x, lengths, state)):
        return at_once
    chunks, states = [], []
    for chunk, length in zip(x.unbind(0), [None] * len(x) if lengths is None else lengths.unbind(0), strict=True):
        y, _, state = module.advance(chunk, length, state)
        chunks.append(y)
        states.append(state)
    return torch.stack(chunks), stack(states), state


def _all_at_once(lstm: Lstm, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, State, State] | None:
    """``run_chunks`` by one call, where a kernel tells the states after all frames."""
    count, batch, time, _ = x.shape
    states = lstm.states(x.transpose(0, 1).flatten(1, 2), None if lengths is None else lengths.sum(0), state)
    if states is None:
        return None
    ends = (x.new_full((count, batch), time, dtype=torch.int64) if lengths is None else lengths).cumsum(0)
    rows = torch.arange(batch, device=x.device)
    after = map_state(lambda first, rest: torch.cat([first[:, None], rest], 1)[rows, ends], state, states)
    y = states["h"].unflatten(1, (count, time)).transpose(0, 1)
    return y, map_state(lambda leaf: leaf.flatten(0, 1), after), map_state(lambda leaf: leaf[-1], after)


class Windows(StreamingModule):
    """A stack of ``Bidirectional`` layers, whole or by windows of a chunk and its look-ahead, (B, T, D) → (B, T, D).

    The latency-controlled BLSTM (Zhang et al. 2016), for any recurrence. A chunk's window passes through the whole stack:
    in each layer the forward direction goes on from the end of the chunk before, the backward direction starts at the
    window's end, and the outputs of the look-ahead serve the layers above and are dropped. So look-ahead does not add up
    by layer, and ``look_ahead`` frames after its chunk are all that an output sees.

    All windows of a step are computed at once, and a whole utterance is one step. What runs through time is the forward
    direction alone, chunk by chunk: in the layers above the first, each window's look-ahead frames are its own, so
    each needs the state at its chunk's end to go on from. Those runs over look-ahead frames, and the whole backward
    direction, depend on no other window: windows are rows of one batch there. All of it is exact.

    Without a chunk it is fully bidirectional: the window is the utterance. Then ``reach`` is infinite, ``forward`` works
    as ever, and ``initial_state`` raises UserError.

    State: each layer's forward state (``layer0``, …) at the end of the last complete chunk, and ``wait``, the frames
    since then, at most chunk + look_ahead − 1.
    """

    def __init__(self, layers: Iterable[Bidirectional], dim: int, chunk: int | None, look_ahead: int = 0):
        super().__init__(dim, dim)
        self.layers = nn.ModuleList(layers)
        self.chunk = chunk
        self.look_ahead = look_ahead if chunk else 0
        self.carry = Carry(chunk - 1 + look_ahead, dim) if chunk else None

    def reach(self, t: int) -> int | float:
        return t - t % self.chunk + self.chunk - 1 + self.look_ahead if self.chunk else math.inf

    @property
    def period(self) -> int:
        return self.chunk or 1

    def initial_state(self, batch_size: int, ragged: bool = False) -> State:
        if self.carry is None:
            raise UserError(
                "encoder.chunk: null is a fully bidirectional encoder, which needs the whole utterance and cannot stream; "
                "decode offline, or train with a chunk and look-ahead (encoder.chunk=16 encoder.look_ahead=8)"
            )
        return {"wait": self.carry.initial_state(batch_size, self.zeros(0), ragged)} | self._initial(batch_size)

    def advance(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, Tensor | None, State]:
        carry, chunk = self.carry, self.chunk
        frames, total = carry.join(state["wait"], mask(x, lengths), lengths)
        if total is None:
            emitted = max(frames.shape[1] - self.look_ahead, 0) // chunk * chunk
            y, new = self._run(frames, None, None, emitted // chunk, state)
            return y, None, {"wait": carry.keep(state["wait"], frames, emitted, None)} | new
        emitted = (total - self.look_ahead).clamp(min=0) // chunk * chunk
        y, new = self._run(frames, total, emitted, -(-x.shape[1] // chunk), state)
        return y, emitted, {"wait": carry.keep(state["wait"], frames, emitted, total)} | new

    def flush(self, state: State) -> tuple[Tensor, Tensor | None]:
        frames, total = state["wait"]["frames"], state["wait"].get("length")
        if frames.shape[1] == 0:
            return super().flush(state)
        available = frames.new_full(frames.shape[:1], frames.shape[1], dtype=torch.int64) if total is None else total
        y, _ = self._run(frames, available, available, -(-frames.shape[1] // self.chunk), state)
        return (y[:, : frames.shape[1]] if total is None else y), total

    def offline(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        available = x.new_full(x.shape[:1], x.shape[1], dtype=torch.int64) if lengths is None else lengths
        count = -(-x.shape[1] // self.chunk) if self.chunk else 1
        y, _ = self._run(mask(x, lengths), available, available, count, self._initial(x.shape[0]))
        return y[:, : x.shape[1]], lengths

    def _initial(self, batch_size: int) -> State:
        return {f"layer{i}": layer.forwards.initial_state(batch_size) for i, layer in enumerate(self.layers)}

    def _run(
        self, frames: Tensor, available: Tensor | None, emitted: Tensor | None, count: int, state: State
    ) -> tuple[Tensor, State]:
        """The first ``count`` windows of ``frames``, of which ``available`` (B,) are there and ``emitted`` lie in chunks
        that are ready; None: all windows are whole.

        Returns the outputs (B, count · chunk, D), zero past ``emitted``, and the layers' next states.
        """
        if count == 0:
            return frames[:, :0], {name: state[name] for name in self._initial(0)}
        chunk = self.chunk or frames.shape[1]
        span = chunk + self.look_ahead
        missing = (count - 1) * chunk + span - frames.shape[1]
        x = F.pad(frames, (0, 0, 0, missing)) if missing else frames
        x = x.unfold(1, span, chunk).permute(1, 0, 3, 2)
        chunk_lengths = window_lengths = None
        if available is not None:
            start = chunk * torch.arange(count, device=frames.device)[:, None]
            chunk_lengths = (emitted - start).clamp(0, chunk)
            window_lengths = torch.where(chunk_lengths > 0, (available - start).clamp(max=span), 0)
        new: State = {}
        for i, layer in enumerate(self.layers):
            x, new[f"layer{i}"] = layer(x, chunk, chunk_lengths, window_lengths, state[f"layer{i}"])
        return mask_finite(x[:, :, :chunk].transpose(0, 1).flatten(1, 2), emitted), new


def reverse(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Each row's valid frames in reverse order; padding stays in its place, so that no frame is taken twice."""
    if lengths is None:
        return x.flip(1)
    time, first = torch.arange(x.shape[1], device=x.device), x.shape[1] * torch.arange(x.shape[0], device=x.device)
    index = first[:, None] + torch.where(time < lengths[:, None], lengths[:, None] - 1 - time, time)
    return F.embedding(index, x.flatten(0, 1))  # frames are copied whole, eight times as fast as by gather


class BlstmConfig(SubsampledConfig):
    kind: Literal["blstm"] = "blstm"
    dim: PositiveInt = Field(288, description="width of every layer, half of it for each direction")
    layers: PositiveInt = Field(4, description="their number")
    chunk: PositiveInt | None = Field(16, description="encoder frames computed together; null: all (offline only)")
    look_ahead: NonNegativeInt = Field(8, description="encoder frames after its chunk that the backward direction sees")
    dropout: float = Field(0.1, ge=0, lt=1, description="share of the numbers set to zero in training")

    @field_validator("dim")
    @classmethod
    def _halves(cls, value: int) -> int:
        if value % 2:
            raise ValueError("must be even: half of it is the width of each direction")
        return value


@ENCODERS.register
class BlstmEncoder(Stack):
    """(B, T, input_dim) → (B, ceil(T / stride), dim): the latency-controlled BLSTM, or with ``chunk: null`` the full one.

    Pre-norm residual layers (Schuster and Paliwal 1997; Zhang et al. 2016) under the window rule of ``Windows``. Look-
    ahead: chunk − 1 + look_ahead encoder frames (0.92 s by default, 0.62 s on average) beyond the convolutions' own.

    State, per stream: dim floats a layer (h and c of the forward direction), (chunk + look_ahead − 1) · dim for the
    frames that wait, the convolutions' left frames. Each chunk costs 2 · (chunk + look_ahead) frames of one direction.

    By default, of 80 features 100 times a second: 2.29 M parameters, latency 960 ms, state 36.7 kB, 84.7 M multiply-adds/s.
    """

    Config = BlstmConfig

    def __init__(self, config: BlstmConfig, input_dim: int):
        dim = config.dim
        layers = [Bidirectional(Lstm(dim, dim // 2), Lstm(dim, dim // 2), config.dropout) for _ in range(config.layers)]
        super().__init__(config, input_dim, {"layers": Windows(layers, dim, config.chunk, config.look_ahead)})
