"""Dropout that costs little where random numbers are dear."""

import torch
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """``nn.Dropout`` whose mask, on a CPU, takes a random byte an element: torch draws a number of 53 bits for each.

    There the share dropped is ``p`` to the nearest 1/256. A conformer's training step spent a sixth of its time on it.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.p or x.device.type != "cpu":
            return super().forward(x)
        kept = 256 - round(256 * self.p)
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        keep = words.view(torch.uint8)[: x.numel()].view(x.shape) < kept
        return x * (keep * (256 / max(kept, 1))).to(x.dtype)
