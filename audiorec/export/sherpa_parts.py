"""What stock sherpa-onnx calls, as functions of plain tensors: a chunk of features, a history of symbols, a joiner.

It keeps a stream's state itself: zeros of fixed sizes before the first chunk. So the state of ragged rows, whose shapes are
fixed and which begins as zeros, travels as one float tensor.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from audiorec_kernels.rnn import dense_lstm
from torch import Tensor, nn

from audiorec.audio.nemo import GUARD, NemoMel
from audiorec.decoders.lstm import weights_of
from audiorec.export.graphs import Layout, Part, scores
from audiorec.models import AsrModel
from audiorec.models.transducer import TransducerHead
from audiorec.streaming import State, window
from audiorec.text import BLANK

SURE = 1e4  # added to the blank's score where there is no frame: no other symbol comes near
SCALE = 1 << 15  # of samples as 16-bit numbers


class Packed:
    """A state of ragged rows as one tensor (N, ``size``) of floats. Numbers of frames stay exact; zeros are the beginning."""

    def __init__(self, state: State):
        self.layout = Layout(state)
        assert not any(leaf.any() for leaf in self.layout.flat(state)), "a state that does not begin as zeros"
        self.sizes = [torch.Size(leaf.shape).numel() for leaf in self.layout.leaves]

    @property
    def size(self) -> int:
        return max(sum(self.sizes), 1)

    def pack(self, state: State) -> Tensor:
        return torch.cat([leaf.flatten(1) if leaf.ndim > 1 else leaf[:, None] for leaf in self._floats(state)], 1)

    def _floats(self, state: State) -> Iterator[Tensor]:
        return (leaf.to(torch.float32) for leaf in self.layout.flat(state))

    def unpack(self, packed: Tensor) -> State:
        parts = packed.split(self.sizes, 1)
        return self.layout.unflat(
            [
                part.reshape(-1, *leaf.shape).to(getattr(torch, leaf.dtype))
                for part, leaf in zip(parts, self.layout.leaves, strict=True)
            ]
        )


class Heard(nn.Module):
    """The log-mel that sherpa-onnx computes (N, T, bins) → the model's features.

    Kaldi's are only normalised. For NeMo's models it computes log(max(p, 1.19e-7)), and quiet speech falls below that floor. So
    samples are to be given as 16-bit numbers, where the floor lies far below NeMo's 2⁻²⁴, and are scaled back here.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, features: Any):
        super().__init__()
        self.nemo = isinstance(features, NemoMel)
        self.louder = 2 * math.log(SCALE) if self.nemo else 0.0
        self.register_buffer("mean", features.mean)
        self.register_buffer("std", features.std)

    def forward(self, x: Tensor) -> Tensor:
        if self.nemo:
            x = ((x - self.louder).exp() + GUARD).log()
        return (x - self.mean) / self.std


class Chunk(nn.Module):
    """A chunk (N, ``chunk``, bins) of sherpa-onnx's log-mel features through the encoder.

    It gives ``chunk / stride`` frames a chunk. Look-ahead leaves the first chunk, or chunks, with fewer: those that are missing
    stand before the others, so that all frames of a stream are late by the same number, and are marked.
    """

    encoder: Any
    head: Any
    frames: int
    slots = 1  # for each frame

    def __init__(self, model: AsrModel, head: nn.Module, chunk: int):
        super().__init__()
        features: Any = model.features
        self.encoder, self.head, self.bins = model.body, head, features.output_dim
        self.heard = Heard(features)
        self.chunk, self.frames = chunk, chunk // self.encoder.stride
        self.state = Packed(self.encoder.initial_state(1, ragged=True))

    def said(self, x: Tensor, packed: Tensor) -> tuple[Tensor, Tensor]:
        """What becomes of the frames (N, T' · slots, …), and the next state (N, size)."""
        raise NotImplementedError

    def run(self, x: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """What the head makes of the frames (N, T', …), which of them are missing (N, T', 1), and the encoder's next state."""
        lengths = torch.full_like(x[:, 0, 0], self.chunk, dtype=torch.int64)
        y, counts, state = self.encoder.advance(self.heard(x), lengths, state)
        missing = self.frames - counts
        order = torch.arange(self.frames, device=x.device) - missing[:, None]
        y = scores(self.head, y).gather(1, order.clamp(min=0)[..., None].expand(-1, -1, self.width))
        return y, (order < 0)[..., None], state

    @property
    def width(self) -> int:
        """Channels of what the head makes of a frame."""
        head = self.head
        return (head.joiner.encoder_proj if isinstance(head, TransducerHead) else head.linear).out_features


def blank_where(missing: Tensor, scores: Tensor) -> Tensor:
    """The scores (…, V), the blank's out of reach of the others' where ``missing`` (…, 1) is 1, or true."""
    return scores + SURE * missing * (torch.arange(scores.shape[-1]) == BLANK)


class CtcChunk(Chunk):
    """Log-probabilities (N, T', V)."""

    def said(self, x: Tensor, packed: Tensor) -> tuple[Tensor, Tensor]:
        log_probs, missing, state = self.run(x, self.state.unpack(packed))
        return blank_where(missing, log_probs), self.state.pack(state)


class TransducerChunk(Chunk):
    """What the joiner reads (N, T', J + 1): a frame has a channel more, 1 where it is missing."""

    def said(self, x: Tensor, packed: Tensor) -> tuple[Tensor, Tensor]:
        frames, missing, state = self.run(x, self.state.unpack(packed))
        return torch.cat([frames, missing.to(frames.dtype)], 2), self.state.pack(state)


class ZipformerCtc(Part):
    """icefall's streaming Zipformer with CTC, of one layer: features (N, T, bins), its eight states, of which the first, the
    keys (1, N, size) of one frame of left context, holds ours."""

    inputs = "x", "key", "nonlin_attn", "val1", "val2", "conv1", "conv2", "embed_states", "processed_lens"
    outputs = "log_probs", *(f"new_{name}" for name in inputs[1:])

    def __init__(self, chunk: Chunk):
        super().__init__()
        self.chunk = chunk

    def compute(self, x: Tensor, key: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        log_probs, packed = self.chunk.said(x, key[0])
        *same, processed = others
        return log_probs, packed[None], *same, processed + self.chunk.chunk


class LstmEncoder(Part):
    """icefall's LSTM transducer's encoder: features (N, T, bins), h (1, N, size), c (1, N, 1), of which h holds the state."""

    inputs = "x", "h", "c"
    outputs = "encoder_out", "next_h", "next_c"

    def __init__(self, chunk: Chunk):
        super().__init__()
        self.chunk = chunk

    def compute(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        frames, packed = self.chunk.said(x, h[0])
        return frames, packed[None], c + 0


class Joined(Part):
    """frames (N, J + 1), read (N, J) → logits (N, V)."""

    inputs, outputs = ("encoder_out", "decoder_out"), ("logit",)

    def __init__(self, head: TransducerHead):
        super().__init__()
        self.joiner = head.joiner

    def compute(self, frames: Tensor, read: Tensor) -> tuple[Tensor, ...]:
        return (blank_where(frames[:, -1:], self.joiner(frames[:, :-1], read)),)


class StatelessDecoder(Part):
    """The last symbols (N, context), −1 or 0 before the first → what the joiner reads of them (N, J)."""

    inputs, outputs = ("y",), ("decoder_out",)

    def __init__(self, head: TransducerHead):
        super().__init__()
        self.predictor, self.project = head.predictor, head.joiner.predictor_proj
        self.context = head.predictor.context

    def compute(self, y: Tensor) -> tuple[Tensor, ...]:
        return (self.project(self.predictor.output({"context": y.clamp(min=BLANK)})),)


class LstmDecoder(Part):
    """As ``StatelessDecoder``, by an LSTM that reads all of them anew: the interface keeps no state of a predictor.

    Exact up to ``context`` symbols; a longer history is cut off. onnxruntime computes as many steps as the longest has symbols.
    """

    inputs, outputs = ("y",), ("decoder_out",)

    def __init__(self, head: TransducerHead, context: int):
        super().__init__()
        self.predictor, self.project, self.context = head.predictor, head.joiner.predictor_proj, context

    def compute(self, y: Tensor) -> tuple[Tensor, ...]:
        predictor: Any = self.predictor
        count = (y > BLANK).sum(1)
        x = predictor.embedding(y.clamp(min=BLANK))
        x = window(x, self.context - count, self.context)  # the symbols to the left, after the blank that begins them
        blank = predictor.embedding.weight[BLANK].expand(x.shape[0], 1, -1)
        x, lengths = torch.cat([blank, x], 1), count + 1
        for layer in predictor.layers.values():
            x, (last, _) = dense_lstm(x, *weights_of(layer), lengths=lengths)
        return (self.project(last),)
