"""Several processes that train one model: sums over them, and which of them writes."""

import time
from collections.abc import Callable, Iterable
from itertools import chain
from typing import TypeVar

import torch.distributed as dist
from lightning.fabric.utilities.rank_zero import rank_zero_only
from torch import Tensor

from audiorec.errors import UserError

PATIENCE_SECONDS = 600.0
T = TypeVar("T")


def writes() -> bool:
    """Whether this process is the first, which alone writes and speaks. Known before the processes have met."""
    return rank_zero_only.rank in (None, 0)


def ranks() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def add_up(tensor: Tensor) -> Tensor:
    """The sum of this tensor over all processes; the tensor itself where there is one."""
    if ranks() == 1:
        return tensor
    # NCCL adds up on GPUs alone.
    total = tensor.to("cuda") if dist.get_backend() == "nccl" else tensor.clone()
    dist.all_reduce(total)
    return total.to(tensor.device)


def collect(values: Iterable[T]) -> list[T]:
    """The values of all processes, in the order of their ranks."""
    mine = list(values)
    if ranks() == 1:
        return mine
    parts: list[list[T]] = [[] for _ in range(ranks())]
    dist.all_gather_object(parts, mine)
    return list(chain.from_iterable(parts))


def wait_for(ready: Callable[[], bool], what: str) -> None:
    """Wait, in a process that is not the first, until the first has written ``what``. Raises UserError after ten minutes."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not ready():
        if time.monotonic() > deadline:
            rank = rank_zero_only.rank
            raise UserError(f"process {rank}: {what} did not appear in {PATIENCE_SECONDS:.0f} s: see the first process")
        time.sleep(0.1)
