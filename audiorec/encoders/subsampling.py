"""Strided causal convolutions: fewer frames for the encoder, no look-ahead beyond the stride itself."""

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from audiorec.config import Config
from audiorec.streaming import Pointwise, Sequential, State, StreamingModule, mask, mask_finite, window


class StridedConv(StreamingModule):
    """Causal convolution over time, (B, T, input_dim) → (B, ceil(T / stride), output_dim).

    Output t sees input frames up to t · stride + stride − 1 and kernel − stride frames before its own. ``separable``
    convolves each channel alone and mixes them after. State: ``left`` (B, kernel − stride, input_dim), frames before.
    """

    def __init__(self, input_dim: int, output_dim: int, stride: int, kernel: int, separable: bool = False):
        super().__init__(input_dim, output_dim)
        if kernel < stride:
            raise ValueError(f"StridedConv: a kernel of {kernel} skips frames at stride {stride}")
        self.stride = self.block = stride
        self.kernel = kernel
        if separable:
            depthwise = nn.Conv1d(input_dim, input_dim, kernel, stride, groups=input_dim)
            self.conv = nn.Sequential(depthwise, nn.Conv1d(input_dim, output_dim, 1))
        else:
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


class SubsampledConfig(Config):
    """What every encoder's config says of the convolutions before its layers."""

    strides: list[PositiveInt] = Field([2, 2], description="of the convolutions; their product is the subsampling")
    kernel: PositiveInt = Field(5, description="frames seen by each convolution, at least its stride")
    separable: bool = Field(True, description="all but the first convolve each channel alone and mix them after")


def subsampling(config: SubsampledConfig, input_dim: int, output_dim: int) -> Sequential:
    """Strided convolutions with SiLU after each, then one linear layer: (B, T, input_dim) → (B, T', output_dim)."""
    members: dict[str, StreamingModule] = {}
    dim = input_dim
    for i, stride in enumerate(config.strides):
        kernel = max(config.kernel, stride)
        members[f"conv{i}"] = StridedConv(dim, output_dim, stride, kernel, separable=config.separable and i > 0)
        members[f"act{i}"] = Pointwise(nn.SiLU(), output_dim)
        dim = output_dim
    return Sequential(**members, out=Pointwise(nn.Linear(dim, output_dim), dim, output_dim))
