"""Strided causal convolutions: fewer frames for the encoder, no look-ahead beyond the stride itself."""

import torch
from torch import Tensor, nn

from audiorec.streaming import Pointwise, Sequential, State, StreamingModule, mask, mask_finite, window


class StridedConv(StreamingModule):
    """Causal convolution over time, (B, T, input_dim) → (B, ceil(T / stride), output_dim).

    Output t sees input frames up to t · stride + stride − 1 and kernel − stride frames before its own.
    State: ``left`` (B, kernel − stride, input_dim), those frames.
    """

    def __init__(self, input_dim: int, output_dim: int, stride: int, kernel: int):
        super().__init__(input_dim, output_dim)
        if kernel < stride:
            raise ValueError(f"StridedConv: a kernel of {kernel} skips frames at stride {stride}")
        self.stride = self.block = stride
        self.kernel = kernel
        self.conv = nn.Conv1d(input_dim, output_dim, kernel, stride)

    def initial_state(self, batch_size: int) -> State:
        return {"left": self.zeros(batch_size, self.kernel - self.stride, self.input_dim)}

    def step(self, x: Tensor, lengths: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        self.check(x, lengths, state)
        frames = torch.cat([state["left"].to(x.dtype), mask(x, lengths)], 1)
        y = self.conv(frames.transpose(1, 2)).transpose(1, 2)
        y_lengths = -(-lengths // self.stride)
        left = window(frames, lengths, self.kernel - self.stride).to(state["left"].dtype)
        return mask_finite(y, y_lengths), y_lengths, {"left": left}


def subsampling(input_dim: int, output_dim: int, strides: list[int], kernel: int) -> Sequential:
    """A stack of strided convolutions with SiLU between, then one linear layer: stride is the product of ``strides``."""
    members: dict[str, StreamingModule] = {}
    for i, stride in enumerate(strides):
        members[f"conv{i}"] = StridedConv(input_dim, output_dim, stride, max(kernel, stride))
        members[f"act{i}"] = Pointwise(nn.SiLU(), output_dim)
        input_dim = output_dim
    return Sequential(**members, out=Pointwise(nn.Linear(input_dim, output_dim), input_dim, output_dim))
