"""Strided causal convolutions: fewer frames for the encoder, no look-ahead beyond the stride itself."""

import torch
import torch.nn.functional as F
from audiorec_kernels.backends import tracing_for_onnx
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from audiorec.config import Config
from audiorec.streaming import Pointwise, Sequential, State, StreamingModule, last_frames, mask, mask_finite


class Strided(StreamingModule):
    """What strided causal convolutions share: output t sees input frames up to t · stride + stride − 1 and
    kernel − stride frames before its own.

    ``convolve`` says how: frames (B, kernel − stride + T, input_dim) → (B, ceil(T / stride), output_dim).
    State: ``left`` (B, kernel − stride, input_dim), frames before.
    """

    def __init__(self, input_dim: int, output_dim: int, stride: int, kernel: int):
        super().__init__(input_dim, output_dim)
        if kernel < stride:
            raise ValueError(f"{type(self).__name__}: a kernel of {kernel} skips frames at stride {stride}")
        self.stride = self.block = stride
        self.kernel = kernel

    def convolve(self, frames: Tensor) -> Tensor:
        raise NotImplementedError

    def initial_state(self, batch_size: int, ragged: bool = False) -> State:
        return {"left": self.zeros(batch_size, self.kernel - self.stride, self.input_dim)}

    def advance(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, Tensor | None, State]:
        frames = torch.cat([state["left"].to(x.dtype), mask(x, lengths)], 1)
        left = last_frames(frames, lengths, self.kernel - self.stride).to(state["left"].dtype)
        if short := -x.shape[1] % self.stride:  # whole rows that end here
            frames = F.pad(frames, (0, 0, 0, short))
        y = self.convolve(frames)
        if lengths is not None:
            lengths = -(-lengths // self.stride)
        return mask_finite(y, lengths), lengths, {"left": left}


def _conv(kind: type[nn.Module], channels: int, out: int, kernel: int | tuple, separable: bool, **steps) -> nn.Module:
    """``separable`` convolves each channel alone and mixes them after."""
    if not separable:
        return kind(channels, out, kernel, **steps)
    return nn.Sequential(kind(channels, channels, kernel, groups=channels, **steps), kind(channels, out, 1))


class StridedConv(Strided):
    """Convolution over time, (B, T, input_dim) → (B, ceil(T / stride), output_dim)."""

    def __init__(self, input_dim: int, output_dim: int, stride: int, kernel: int, separable: bool = False):
        super().__init__(input_dim, output_dim, stride, kernel)
        self.conv = _conv(nn.Conv1d, input_dim, output_dim, kernel, separable, stride=stride)

    def convolve(self, frames: Tensor) -> Tensor:
        if tracing_for_onnx() and isinstance(self.conv, nn.Sequential):
            depthwise, mix = self.conv  # the mix is a product, which other runtimes compute faster than a convolution
            return F.linear(depthwise(frames.transpose(1, 2)).transpose(1, 2), mix.weight[:, :, 0], mix.bias)
        return self.conv(frames.transpose(1, 2)).transpose(1, 2).contiguous()


class StridedConv2d(Strided):
    """Convolution over time and frequency. A frame is ``planes`` of ``bins`` each and comes out as ``planes_out`` of half
    the bins: (B, T, planes · bins) → (B, ceil(T / stride), planes_out · ceil(bins / 2)).

    Its weights, three bins wide, are the same at every frequency: a voice whose formants lie higher looks alike.
    """

    def __init__(self, planes: int, bins: int, planes_out: int, stride: int, kernel: int, separable: bool = False):
        super().__init__(planes * bins, planes_out * -(-bins // 2), stride, kernel)
        self.planes = planes
        steps = {"stride": (stride, 2), "padding": (0, 1)}
        self.conv = _conv(nn.Conv2d, planes, planes_out, (kernel, 3), separable, **steps)

    def convolve(self, frames: Tensor) -> Tensor:
        images = frames.unflatten(2, (self.planes, -1)).transpose(1, 2)  # (B, planes, T, bins)
        return self.conv(images).transpose(1, 2).flatten(2)


class SubsampledConfig(Config):
    """What every encoder's config says of the convolutions before its layers."""

    strides: list[PositiveInt] = Field([2, 2], description="of the convolutions; their product is the subsampling")
    kernel: PositiveInt = Field(5, description="frames seen by each convolution, at least its stride")
    separable: bool = Field(True, description="all but the first convolve each channel alone and mix them after")
    planes: PositiveInt | None = Field(
        None, description="convolve over frequency too, halved each time, to so many planes; null: over time alone"
    )


def subsampling(config: SubsampledConfig, input_dim: int, output_dim: int) -> Sequential:
    """Strided convolutions with SiLU after each, then one linear layer: (B, T, input_dim) → (B, T', output_dim)."""
    members: dict[str, StreamingModule] = {}
    dim = input_dim
    for i, stride in enumerate(config.strides):
        kernel, separable = max(config.kernel, stride), config.separable and i > 0
        if config.planes is None:
            conv = StridedConv(dim, output_dim, stride, kernel, separable)
        else:
            planes = config.planes if i else 1
            conv = StridedConv2d(planes, dim // planes, config.planes, stride, kernel, separable)
        dim = conv.output_dim
        members |= {f"conv{i}": conv, f"act{i}": Pointwise(nn.SiLU(), dim)}
    return Sequential(**members, out=Pointwise(nn.Linear(dim, output_dim), dim, output_dim))
