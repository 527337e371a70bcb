"""Two small modules with right context, to hold chains and branches to the law before encoders with look-ahead exist."""

import torch
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

    def initial_state(self, batch_size: int) -> State:
        return {"ahead": self.carry.initial_state(batch_size, self.zeros(0))}

    def convolve(self, frames: Tensor) -> Tensor:
        return torch.tanh(self.conv(frames.transpose(1, 2)).transpose(1, 2))

    def step(self, x: Tensor, lengths: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        frames, total = self.carry.join(state["ahead"], mask(x, lengths), lengths)
        given = (total - self.right).clamp(min=0)
        return (
            mask(self.convolve(frames), given),
            given,
            {"ahead": self.carry.keep(state["ahead"], frames, given, total)},
        )

    def flush(self, state: State) -> tuple[Tensor, Tensor]:
        frames, length = state["ahead"]["frames"], state["ahead"]["length"]
        return mask(self.convolve(torch.cat([frames, torch.zeros_like(frames)], 1)), length), length


class ChunkMean(StreamingModule):
    """Adds to each frame the mean of its chunk: the last chunk may be short."""

    def __init__(self, dim: int, chunk: int):
        super().__init__(dim, dim)
        self.block = self.chunk = chunk

    def reach(self, t: int) -> int:
        return t // self.chunk * self.chunk + self.chunk - 1

    def step(self, x: Tensor, lengths: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        self.check(x, lengths, state)
        chunks = mask(x, lengths).unflatten(1, (-1, self.chunk))
        count = valid(lengths, x.shape[1]).unflatten(1, (-1, self.chunk)).sum(2).clamp(min=1)
        mean = chunks.sum(2) / count[..., None]
        return mask((chunks + mean[:, :, None]).flatten(1, 2), lengths), lengths, state
