"""Strided causal convolutions: fewer frames for the encoder, no look-ahead beyond the stride itself."""

from typing import Protocol

import torch
import torch.nn.functional as F
from audiorec_kernels.backends import tracing_for_onnx
from audiorec_kernels.product import linear
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from audiorec.config import Config
from audiorec.encoders.layers import depthwise_of_taps, taps
from audiorec.streaming import (
    Linear,
    Pointwise,
    Sequential,
    State,
    StreamingModule,
    last_frames,
    mask,
    mask_finite,
    window,
)

# Output frames up to which products are faster than torch's convolutions over time, which lay weights out anew on every call.
_FEW = 16


class Lead(StreamingModule):
    """``count`` zero frames, then the input: (B, T, dim) → (B, count + T, dim), and of an empty row nothing.

    Before a strided convolution of stride count + 1 it makes the last frame that an output sees the first of its stride: output t
    sees up to frame t · stride, none of look-ahead, and an utterance has one output more wherever its frames fill the strides.
    State: of whole rows ``frames``, the zeros that wait for the first frame; of ragged rows ``started`` (B,).
    """

    def __init__(self, dim: int, count: int):
        super().__init__(dim, dim)
        self.count = count

    def reach(self, t: int) -> int:
        return max(t - self.count, 0)

    def total(self, frames: int) -> int:
        return frames + self.count if frames else 0

    def ready(self, frames: int) -> int:
        return self.total(frames)

    def initial_state(self, batch_size: int, ragged: bool = False) -> State:
        if ragged:
            return {"started": self.zeros(batch_size, dtype=torch.bool)}
        return {"frames": self.zeros(batch_size, self.count, self.input_dim)}

    def advance(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, Tensor | None, State]:
        if lengths is None:
            zeros = state["frames"]
            return torch.cat([zeros.to(x.dtype), x], 1), None, {"frames": zeros[:, :0]}
        began = lengths > 0
        fresh = (began & ~state["started"]).to(lengths.dtype) * self.count
        frames = F.pad(mask(x, lengths), (0, 0, self.count, self.count))
        y = window(frames, self.count - fresh, self.count + x.shape[1])
        return mask_finite(y, lengths + fresh), lengths + fresh, {"started": state["started"] | began}

    def offline(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        # Every row begins here, so nothing is gathered.
        y = F.pad(mask(x, lengths), (0, 0, self.count, 0))[:, : self.total(x.shape[1])]
        return y, None if lengths is None else torch.where(lengths > 0, lengths + self.count, lengths)


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
        if tracing_for_onnx():
            return self._of_taps(frames)
        if (
            not torch.compiler.is_compiling()
            and frames.is_cpu
            and not torch.is_grad_enabled()
            and frames.shape[1] < self.kernel + _FEW * self.stride
        ):
            return self._products(frames)
        return self.conv(frames.transpose(1, 2)).transpose(1, 2).contiguous()

    def _of_taps(self, frames: Tensor) -> Tensor:
        if isinstance(self.conv, nn.Sequential):
            alone, mix = self.conv
            return F.linear(depthwise_of_taps(frames, alone), mix.weight[:, :, 0], mix.bias)
        windows = torch.cat(taps(frames, self.kernel, self.stride), 2)
        return F.linear(windows, self.conv.weight.transpose(1, 2).flatten(1), self.conv.bias)

    def _products(self, frames: Tensor) -> Tensor:
        """The same convolution as products of windows: of the few frames that a live stream has."""
        windows = frames.unfold(1, self.kernel, self.stride)  # (B, T', input_dim, kernel)
        if not isinstance(self.conv, nn.Sequential):
            return linear(windows.flatten(2), self.conv.weight.flatten(1), self.conv.bias)
        alone, mixed = self.conv
        y = (windows * alone.weight[:, 0]).sum(3) + alone.bias
        return linear(y, mixed.weight.flatten(1), mixed.bias)


class StridedConv2d(Strided):
    """Convolution over time and frequency. A frame is ``planes`` of ``bins`` each and comes out as ``planes_out`` of half
    the bins: (B, T, planes · bins) → (B, ceil(T / stride), planes_out · ceil(bins / 2)).

    Its weights, three bins wide, are the same at every frequency: a voice whose formants lie higher looks alike. ``low`` is the
    number of zero bins below the lowest, of which there is one above the highest; two give bins // 2 + 1 of them.
    """

    def __init__(
        self, planes: int, bins: int, planes_out: int, stride: int, kernel: int, separable: bool = False, low: int = 1
    ):
        super().__init__(planes * bins, planes_out * ((bins + low) // 2), stride, kernel)
        self.planes = planes
        self.low = low
        steps = {"stride": (stride, 2), "padding": (0, 1)}
        self.conv = _conv(nn.Conv2d, planes, planes_out, (kernel, 3), separable, **steps)

    def convolve(self, frames: Tensor) -> Tensor:
        images = frames.unflatten(2, (self.planes, -1)).transpose(1, 2)  # (B, planes, T, bins)
        if self.low > 1:
            images = F.pad(images, (self.low - 1, 0))
        return self.conv(images).transpose(1, 2).flatten(2)


class Subsamples(Protocol):
    """A config that says what stands before an encoder's layers."""

    def subsampling(self, input_dim: int, output_dim: int) -> Sequential:
        """(B, T, input_dim) → (B, T', output_dim)."""


class SubsampledConfig(Config):
    """What every encoder's config says of the convolutions before its layers."""

    strides: list[PositiveInt] = Field([2, 2], description="of the convolutions; their product is the subsampling")
    kernel: PositiveInt = Field(5, description="frames seen by each convolution, at least its stride")
    separable: bool = Field(True, description="all but the first convolve each channel alone and mix them after")
    planes: PositiveInt | None = Field(
        None, description="convolve over frequency too, halved each time, to so many planes; null: over time alone"
    )

    def subsampling(self, input_dim: int, output_dim: int) -> Sequential:
        """Strided convolutions with SiLU after each, then one linear layer: (B, T, input_dim) → (B, T', output_dim)."""
        members: dict[str, StreamingModule] = {}
        dim = input_dim
        for i, stride in enumerate(self.strides):
            kernel, separable = max(self.kernel, stride), self.separable and i > 0
            if self.planes is None:
                conv: Strided = StridedConv(dim, output_dim, stride, kernel, separable)
            else:
                planes = self.planes if i else 1
                conv = StridedConv2d(planes, dim // planes, self.planes, stride, kernel, separable)
            dim = conv.output_dim
            members |= {f"conv{i}": conv, f"act{i}": Pointwise(nn.SiLU(), dim)}
        return Sequential(**members, out=Pointwise(Linear(dim, output_dim), dim, output_dim))
