"""SpecAugment (Park et al. 2019): random bands of time and frequency are hidden from the encoder in training."""

import torch
from pydantic import Field
from torch import Tensor

from audiorec.config import Config


class SpecAugmentConfig(Config):
    time_masks: int = Field(0, ge=0)
    time_width: int = Field(20, ge=1, description="most frames that one mask hides")
    time_share: float = Field(0.2, ge=0, le=1, description="most of an utterance that all time masks hide")
    frequency_masks: int = Field(0, ge=0)
    frequency_width: int = Field(10, ge=1, description="most bins that one mask hides")


def spec_augment(x: Tensor, lengths: Tensor, seeds: Tensor, config: SpecAugmentConfig) -> Tensor:
    """Hide bands of normalised features x (B, T, F): zeros are the mean. Row b draws from ``seeds[b]`` alone."""
    time, bins = x.shape[1:]
    hidden_time = torch.zeros(x.shape[0], time, dtype=torch.bool)
    hidden_bins = torch.zeros(x.shape[0], bins, dtype=torch.bool)
    for row, (length, seed) in enumerate(zip(lengths.tolist(), seeds.tolist(), strict=True)):
        random = torch.Generator().manual_seed(seed)
        most = min(config.time_width, int(length * config.time_share / max(config.time_masks, 1)))
        _hide(hidden_time[row], config.time_masks, most, length, random)
        _hide(hidden_bins[row], config.frequency_masks, min(config.frequency_width, bins), bins, random)
    hidden = hidden_time[:, :, None] | hidden_bins[:, None]
    return x.masked_fill(hidden.to(x.device), 0)


def _hide(row: Tensor, masks: int, most: int, size: int, random: torch.Generator) -> None:
    for _ in range(masks):
        width, place = torch.rand(2, generator=random).tolist()
        width = int(width * (most + 1))
        start = int(place * (size - width + 1))
        row[start : start + width] = True
