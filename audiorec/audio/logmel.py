"""Log-mel features as a streaming module on samples: Kaldi's filter bank, the same for a file and a microphone.

Frames, window and mel scale are Kaldi's (``compute-fbank-feats``: 25 ms every 10 ms, povey window, DC removal and
pre-emphasis per frame, no dither, power spectrum, high_freq −400, floor 1.19e-7), on samples in [−1, 1].
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from audiorec_kernels.precision import full_precision
from pydantic import Field
from torch import Tensor

from audiorec.audio.mel import MelFeatures
from audiorec.config import Config
from audiorec.streaming import State, mask, window

LOW_FREQ, HIGH_FREQ = 20.0, -400.0
PREEMPHASIS = 0.97
FLOOR = 1.1920928955078125e-07


class LogMelConfig(Config):
    kind: Literal["log_mel"] = "log_mel"
    sample_rate: int = Field(16000, description="hertz; recordings of another rate are resampled")
    bins: int = Field(80, description="of the mel scale")


class LogMel(MelFeatures):
    """Samples (B, T, 1) in [−1, 1] → (B, ceil(T / hop), bins), normalised by the mean and deviation kept in the model.

    Frame t sits where Kaldi's ``snip_edges=False`` puts it (at 16 kHz: samples 160t − 120 to 160t + 280), with zeros
    beyond the ends instead of reflection. State: ``tail``, the samples from the next frame's first on; of ragged rows the last
    samples, and ``started`` (B,).
    """

    Config = LogMelConfig

    def __init__(self, config: LogMelConfig):
        super().__init__(config.sample_rate, _filters(config.sample_rate, config.bins))
        self.before = (self.length - self.hop) // 2  # samples of frame t that lie before t * hop
        self.keep = self.length - self.before

    def reach(self, t: int) -> int:
        return t * self.hop + self.keep - 1

    def initial_state(self, batch_size: int, ragged: bool = False) -> State:
        if not ragged:
            return {"tail": self.zeros(batch_size, self.before, 1)}
        return {
            "tail": self.zeros(batch_size, self.keep, 1),
            "started": self.zeros(batch_size, dtype=torch.bool),
        }

    def advance(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, Tensor | None, State]:
        tail = state["tail"]
        x = x.to(tail.dtype)
        if lengths is None:
            short = -x.shape[1] % self.hop  # zeros beyond the end
            samples = torch.cat([tail, F.pad(x, (0, 0, 0, short)) if short else x], 1)
            y = self._whole_frames(samples)
            return y, None, {"tail": samples[:, y.shape[1] * self.hop :]}
        # Slot j of this step is the frame that ends `before` samples into block j: for a new row slot 0 lies before
        # the first frame and is dropped; where a row ends within a block, that block's frame is full, of zeros beyond.
        samples = torch.cat([tail, mask(x, lengths), tail.new_zeros(tail.shape[0], self.hop, 1)], 1)
        frames = samples[:, : self.keep + x.shape[1], 0].unfold(1, self.length, self.hop)
        blocks = -(-lengths // self.hop)
        fresh = (~state["started"] & (lengths > 0)).to(lengths.dtype)
        features = self.features(frames)
        y = mask(window(features, fresh, features.shape[1]), blocks - fresh)
        tail = window(samples, self.hop * blocks, self.keep)
        return y, blocks - fresh, {"tail": tail, "started": state["started"] | (lengths > 0)}

    def flush(self, state: State) -> tuple[Tensor, Tensor | None]:
        tail, started = state["tail"], state.get("started")
        if started is None:
            missing = self.before if tail.shape[1] > self.before else 0  # without a sample there is no frame
            return self._whole_frames(F.pad(tail, (0, 0, 0, missing))), None
        frame = self.features(F.pad(tail[:, :, 0], (0, self.before)))[:, None]
        lengths = started.to(torch.int64)
        return mask(frame, lengths), lengths

    def features(self, frames: Tensor) -> Tensor:
        """Normalised log-mel of frames (…, length), always in the features' own precision."""
        with full_precision(frames):
            frames = (frames - frames.mean(-1, keepdim=True)).to(self.spectrum.dtype)
            return self._normalised(self._energies(frames).clamp(min=FLOOR))


def _filters(sample_rate: int, bins: int) -> tuple[Tensor, Tensor]:
    """The Fourier basis with window and pre-emphasis folded in (length, 2 · fft/2), and mel weights (fft/2, bins).

    A product with the basis replaces window, pre-emphasis and FFT: all are linear, 25 ms frames are short, and a matrix
    product runs the same under autocast, export and on any device.
    """
    length = round(0.025 * sample_rate)
    size = 1 << (length - 1).bit_length()
    n = torch.arange(length, dtype=torch.float64)
    povey = (0.5 - 0.5 * torch.cos(2 * math.pi * n / (length - 1))).pow(0.85)
    identity = torch.eye(length, dtype=torch.float64)
    previous = torch.cat([identity[:1], identity[:-1]])  # the first sample is its own predecessor
    preemphasis = (identity - PREEMPHASIS * previous).T
    angle = 2 * math.pi * n[:, None] * torch.arange(size // 2, dtype=torch.float64) / size
    basis = preemphasis @ (povey[:, None] * torch.cat([angle.cos(), angle.sin()], 1))

    def to_mel(hertz: Tensor) -> Tensor:
        return 1127.0 * torch.log1p(hertz / 700.0)

    low, high = to_mel(torch.tensor([LOW_FREQ, sample_rate / 2 + HIGH_FREQ], dtype=torch.float64))
    edges = low + (high - low) / (bins + 1) * torch.arange(bins + 2, dtype=torch.float64)
    mel = to_mel(torch.arange(size // 2, dtype=torch.float64) * sample_rate / size)[:, None]
    up = (mel - edges[:-2]) / (edges[1:-1] - edges[:-2])
    down = (edges[2:] - mel) / (edges[2:] - edges[1:-1])
    weights = torch.minimum(up, down).clamp(min=0)
    return basis.float(), weights.float()
