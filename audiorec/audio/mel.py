"""``MelFeatures``: what features on a mel scale share: their frames, the energy of each bin, its logarithm normalised."""

from abc import abstractmethod

import torch
import torch.nn.functional as F
from audiorec_kernels.product import linear
from torch import Tensor

from audiorec.streaming import StreamingModule

STD_FLOOR = 0.5  # a bin that is almost constant in training must not grow large on another microphone


class MelFeatures(StreamingModule):
    """Samples (B, T, 1) → (B, T', bins): frames of 25 ms each 10 ms, normalised by the mean and deviation kept in the model.

    ``filters`` are the Fourier basis with the window folded in (length, 2 · fft/2), and mel weights (fft/2, bins).
    """

    spectrum: Tensor
    mel: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, sample_rate: int, filters: tuple[Tensor, Tensor]):
        spectrum, mel = filters
        super().__init__(1, mel.shape[1])
        self.sample_rate = sample_rate
        self.length = round(0.025 * sample_rate)
        self.hop = round(0.010 * sample_rate)
        self.stride = self.block = self.hop
        self.register_buffer("spectrum", spectrum, persistent=False)
        self.register_buffer("mel", mel, persistent=False)
        self.register_buffer("mean", torch.zeros(self.output_dim))
        self.register_buffer("std", torch.ones(self.output_dim))

    @abstractmethod
    def features(self, frames: Tensor) -> Tensor:
        """Normalised log-mel of frames (…, length), always in the features' own precision."""

    @torch.no_grad()
    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Global mean and deviation (bins,) of unnormalised features; the deviation is floored at 0.5."""
        self.mean.copy_(mean)
        self.std.copy_(std.clamp(min=STD_FLOOR))

    def _energies(self, frames: Tensor) -> Tensor:
        """Of each mel bin (…, bins) in frames (…, length)."""
        return linear(frames, self.spectrum.t()).square().unflatten(-1, (2, -1)).sum(-2) @ self.mel

    def _normalised(self, energies: Tensor) -> Tensor:
        return (energies.log() - self.mean) / self.std

    def _whole_frames(self, samples: Tensor) -> Tensor:
        """The features of all frames that lie within samples (B, N, 1)."""
        if samples.shape[1] < self.length:
            return samples.new_zeros(samples.shape[0], 0, self.output_dim)
        return self.features(frames_of(samples[:, :, 0], self.length, self.hop))


def frames_of(samples: Tensor, length: int, hop: int) -> Tensor:
    """All frames (B, T, length), one every ``hop``, that lie within samples (B, N), of which there is one at least."""
    if not torch.compiler.is_compiling():
        return samples.unfold(1, length, hop)
    # As hops side by side: an exported `unfold` would hold for one N alone.
    count, wide = (samples.shape[1] - length) // hop + 1, -(-length // hop)
    samples = F.pad(samples, (0, -length % hop))
    hops = [samples[:, i * hop : (i + count) * hop].unflatten(1, (-1, hop)) for i in range(wide)]
    return torch.cat(hops, -1)[..., :length]
