"""The cost of a model: the multiply-adds of its operations, run without numbers on torch's meta device."""

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from audiorec.streaming import StreamingModule

M = TypeVar("M", bound=nn.Module)
_PRODUCTS = {torch.ops.aten.mul, torch.ops.aten.mul_, torch.ops.aten.addcmul}


class _Multiplications(TorchDispatchMode):
    """Adds up products of matrices, convolutions, and products element by element (gates, recurrences, rotations)."""

    def __init__(self):
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = function(*args, **(kwargs or {}))
        operation = function.overloadpacket
        if operation in flop_registry:
            self.total += flop_registry[operation](*args, **(kwargs or {}), out_val=result) // 2
        elif operation in _PRODUCTS:
            self.total += result.numel()
        return result


def multiply_adds(module: M, run: Callable[[M], Any]) -> int:
    """Multiplications, whether their products are added or not, of ``run(copy)``: a copy of ``module`` on the meta device.

    There every recurrence runs as its reference, frame by frame where frames are few. Norms and activations are not counted.
    """
    twin = copy.deepcopy(module).to("meta").eval()
    with torch.no_grad(), _Multiplications() as counter:
        run(twin)
    return counter.total


def live_multiply_adds(module: StreamingModule) -> float:
    """Multiply-adds per input frame of one live stream that is fed a ``period`` at a time."""

    def feed(twin: StreamingModule, *sizes: int) -> None:
        state = None
        for size in sizes:
            _, _, state = twin.step(_frames(twin, size), None, state)

    first = multiply_adds(module, lambda twin: feed(twin, twin.first_feed))
    return (multiply_adds(module, lambda twin: feed(twin, twin.first_feed, twin.period)) - first) / module.period


def offline_multiply_adds(module: StreamingModule, frames: int) -> float:
    """Multiply-adds per input frame of a whole utterance of ``frames`` frames, for modules that cannot stream."""
    return multiply_adds(module, lambda twin: twin(_frames(twin, frames))) / frames


def _frames(module: StreamingModule, frames: int) -> Tensor:
    return torch.zeros(1, frames, module.input_dim, device="meta")
