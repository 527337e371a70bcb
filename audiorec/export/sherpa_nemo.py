"""NeMo's interfaces of sherpa-onnx: for models on NeMo's features, which it computes for no other.

The blank comes last there, and a predictor's state is kept between symbols.
"""

from typing import Any

import torch
from torch import Tensor

from audiorec.export.examples import ROWS
from audiorec.export.graphs import Part
from audiorec.export.sherpa_parts import Chunk, Packed, blank_where
from audiorec.export.trace import trace
from audiorec.models.transducer import TransducerHead
from audiorec.streaming import map_state
from audiorec.text import BLANK

MAX_SYMBOLS = 10  # that its greedy search emits at one frame
BEFORE = 0.005  # seconds of silence before the audio: its frames are centred half a hop after NeMo's
_CACHE = "cache_last_channel", "cache_last_time"


class NemoEncoder(Part):
    """Features (N, bins, T), their number, a state of which the first tensor (N, 1, 1, size) holds ours → a chunk's scores of
    CTC (N, T', V), the blank last, or a transducer's frames (N, J + 1, T')."""

    inputs = "audio_signal", "length", *_CACHE, "cache_last_channel_len"
    outputs = "outputs", "encoded_lengths", *(f"{name}_next" for name in inputs[2:])

    def __init__(self, chunk: Chunk):
        super().__init__()
        self.chunk = chunk
        self.transducer = isinstance(chunk.head, TransducerHead) and chunk.slots == 1

    def compute(self, x: Tensor, length: Tensor, channel: Tensor, time: Tensor, count: Tensor) -> tuple[Tensor, ...]:
        y, packed = self.chunk.said(x.transpose(1, 2), channel[:, 0, 0])
        y = y.transpose(1, 2) if self.transducer else y.roll(-1, -1)
        return y, length // self.chunk.encoder.stride, packed[:, None, None], time, count


class NemoDecoder(Part):
    """symbols (N, 1), their number, the predictor's state, of which the first tensor (1, N, size) holds ours → what the joiner
    reads (N, J, 1). The blank begins a history."""

    inputs = "targets", "target_length", "states", "others"
    outputs = "outputs", "prednet_lengths", "next_states", "next_others"

    def __init__(self, head: TransducerHead):
        super().__init__()
        self.predictor, self.project = head.predictor, head.joiner.predictor_proj
        self.last = head.joiner.output.out_features - 1
        self.state = Packed(map_state(torch.zeros_like, self.predictor.initial_state(1)))

    def compute(self, symbols: Tensor, length: Tensor, packed: Tensor, other: Tensor) -> tuple[Tensor, ...]:
        symbol, begins = symbols[:, 0].to(torch.int64), symbols[:, 0] == self.last
        symbol = torch.where(begins, BLANK, symbol + 1)
        stepped = self.state.pack(self.predictor.step(symbol, self.state.unpack(packed[0])))
        first = self.state.pack(self.predictor.initial_state(symbols.shape[0]))
        now = torch.where(begins[:, None], first, stepped)
        read = self.project(self.predictor.output(self.state.unpack(now)))
        return read[..., None], length, now[None], other


class NemoJoiner(Part):
    """frames (N, J + 1, 1), read (N, J, 1) → logits (N, 1, 1, V), the blank last."""

    inputs, outputs = ("encoder_outputs", "decoder_outputs"), ("outputs",)

    def __init__(self, head: TransducerHead):
        super().__init__()
        self.joiner = head.joiner

    def compute(self, frames: Tensor, read: Tensor) -> tuple[Tensor, ...]:
        logits = self.joiner(frames[:, :-1, 0], read[..., 0])
        return (blank_where(frames[:, -1:, 0], logits).roll(-1, -1)[:, None, None],)


def encoder_graph(chunk: Chunk) -> Any:
    batch = {0: torch.export.Dim("batch")}
    states = [torch.zeros(ROWS, 1, 1, size) for size in (chunk.state.size, 1)]
    x, length = torch.randn(ROWS, chunk.bins, chunk.chunk), torch.full((ROWS,), chunk.chunk)
    return trace(NemoEncoder(chunk), [x, length, *states, torch.zeros(ROWS, dtype=torch.int64)], [batch] * 5)


def encoder_metadata(chunk: Chunk, vocabulary: int) -> dict[str, Any]:
    sizes = {f"{name}_dim{i}": 1 for name in _CACHE for i in (1, 2, 3)}
    frames = {"window_size": chunk.chunk, "chunk_shift": chunk.chunk, "subsampling_factor": chunk.encoder.stride}
    return {"vocab_size": vocabulary - 1, **frames, **sizes, f"{_CACHE[0]}_dim3": chunk.state.size}


def decoder_graph(part: NemoDecoder) -> Any:
    rows = torch.export.Dim("rows")
    symbols = torch.arange(ROWS, dtype=torch.int32)[:, None]
    states = [torch.zeros(1, ROWS, part.state.size) for _ in range(2)]
    first, second = {0: rows}, {1: rows}
    return trace(part, [symbols, torch.ones(ROWS, dtype=torch.int32), *states], [first, first, second, second])


def joiner_graph(head: TransducerHead) -> Any:
    rows, width = {0: torch.export.Dim("rows")}, head.joiner.encoder_proj.out_features
    return trace(NemoJoiner(head), [torch.randn(ROWS, width + 1, 1), torch.randn(ROWS, width, 1)], [rows, rows])


def decoder_metadata(part: NemoDecoder) -> dict[str, Any]:
    """What is read off the encoder's graph, too."""
    return {"normalize_type": "NA", "pred_rnn_layers": 1, "pred_hidden": part.state.size}
