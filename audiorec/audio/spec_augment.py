"""SpecAugment (Park et al. 2019): random bands of time and frequency are hidden from the encoder in training."""

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor

from audiorec.config import Config


class SpecAugmentConfig(Config):
    time_masks: int = Field(0, ge=0, description="stretches of time hidden in each utterance")
    time_width: int = Field(20, ge=1, description="most frames that one mask hides")
    time_share: float = Field(0.2, ge=0, le=1, description="most of an utterance that all time masks hide")
    frequency_masks: int = Field(0, ge=0, description="bands of bins hidden in each utterance")
    frequency_width: int = Field(10, ge=1, description="most bins that one mask hides")


def spec_augment(x: Tensor, lengths: Tensor, seeds: Sequence[int], config: SpecAugmentConfig) -> Tensor:
    """Hide bands of normalised features x (B, T, F): zeros are the mean. Row b draws from ``seeds[b]`` alone.

    Draws are made on the CPU; nothing is read back from the device of x.
    """
    time, bins = x.shape[1:]
    masks = config.time_masks, config.frequency_masks
    if not any(masks):
        return x
    # Width and place of each mask, as shares.
    draws = [torch.rand(sum(masks), 2, generator=torch.Generator().manual_seed(int(seed))) for seed in seeds]
    of_time, of_bins = torch.stack(draws).to(x.device, non_blocking=True).split(masks, 1)
    longest = (lengths * (config.time_share / max(config.time_masks, 1))).long().clamp(max=config.time_width)
    most_bins = torch.full_like(lengths, min(config.frequency_width, bins))
    hidden = _bands(of_time, longest, lengths, time)[:, :, None]
    hidden = hidden | _bands(of_bins, most_bins, torch.full_like(lengths, bins), bins)[:, None]
    return x.masked_fill(hidden, 0)


def _bands(draws: Tensor, most: Tensor, sizes: Tensor, positions: int) -> Tensor:
    """(B, positions) bool: true within the bands that draws (B, M, 2) place in 0 to sizes (B,), each at most most (B,) wide."""
    widths = (draws[..., 0] * (most[:, None] + 1)).long()
    starts = (draws[..., 1] * (sizes[:, None] - widths + 1)).long()
    at = torch.arange(positions, device=draws.device)[:, None, None]
    return ((at >= starts) & (at < starts + widths)).any(-1).T
