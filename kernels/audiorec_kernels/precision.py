"""Where recurrences keep their own precision."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(x: Tensor) -> AbstractContextManager:
    """A context in which autocast casts nothing on x's device; the meta device has no autocast to switch off."""
    device = x.device.type
    return nullcontext() if device == "meta" else torch.autocast(device, enabled=False)
