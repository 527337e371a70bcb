"""Two small modules with right context, to hold chains and branches to the law before encoders with look-ahead exist."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiorec.streaming import Carry, State, StreamingModule, mask, valid


class Ahead(StreamingModule):
    """A convolution that sees ``right`` frames ahead, and so holds as many back."""

    def __init__(self, dim: int, right: int):
        super().__init__(dim, dim)
        self.right = right
        self.carry = Carry(right, dim)
        self.conv = nn.Conv1d(dim, dim, right + 1)

    def reach(self, t: int) -> int:
        return t + self.right

    def initial_state(self, batch_size: int, ragged: bool = False) -> State:
        return {"ahead": self.carry.initial_state(batch_size, self.zeros(0), ragged)}

    def convolve(self, frames: Tensor) -> Tensor:
        return torch.tanh(self.conv(frames.transpose(1, 2)).transpose(1, 2))

    def advance(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, Tensor | None, State]:
        frames, total = self.carry.join(state["ahead"], mask(x, lengths), lengths)
        if total is None:
            emitted = max(frames.shape[1] - self.right, 0)
            y = self.convolve(frames) if emitted else frames[:, :0]
            return y, None, {"ahead": self.carry.keep(state["ahead"], frames, emitted, None)}
        emitted = (total - self.right).clamp(min=0)
        new = {"ahead": self.carry.keep(state["ahead"], frames, emitted, total)}
        return mask(self.convolve(frames), emitted), emitted, new

    def flush(self, state: State) -> tuple[Tensor, Tensor | None]:
        frames, length = state["ahead"]["frames"], state["ahead"].get("length")
        if frames.shape[1] == 0:
            return super().flush(state)
        return mask(self.convolve(F.pad(frames, (0, 0, 0, self.right))), length), length


class ChunkMean(StreamingModule):
    """Adds to each frame the mean of its chunk: the last chunk may be short."""

    def __init__(self, dim: int, chunk: int):
        super().__init__(dim, dim)
        self.block = self.chunk = chunk

    def reach(self, t: int) -> int:
        return t // self.chunk * self.chunk + self.chunk - 1

    def advance(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, Tensor | None, State]:
        short = -x.shape[1] % self.chunk  # whole rows that end here
        count = x.new_full(x.shape[:1], x.shape[1], dtype=torch.int64) if lengths is None else lengths
        chunks = F.pad(mask(x, lengths), (0, 0, 0, short)).unflatten(1, (-1, self.chunk))
        count = valid(count, x.shape[1] + short).unflatten(1, (-1, self.chunk)).sum(2).clamp(min=1)
        y = (chunks + (chunks.sum(2) / count[..., None])[:, :, None]).flatten(1, 2)[:, : x.shape[1]]
        return mask(y, lengths), lengths, state
