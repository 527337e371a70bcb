"""A linear layer that reads its weights as fast as memory gives them, of few rows, as a live stream has."""

import torch
import torch.nn.functional as F
from torch import Tensor

from audiorec_kernels.backends import serving
from audiorec_kernels.native import WIDE, kernel, threads
from audiorec_kernels.operator import watched

__all__ = ["linear"]

# Rows up to which our kernel is faster than torch's products, and numbers in a weight from which on it is: below, a small model's
# weights stay in the caches, and a call from Python takes longer than torch's.
_FEW, _LARGE = 8, 1 << 17

_linear = kernel("linear", sizes=4, tensors=4)


def linear(x: Tensor, weight: Tensor, added: Tensor | None = None) -> Tensor:
    """x Wᵀ + added: ``x`` (…, K), ``weight`` (N, K), ``added`` (N,), or (M, N) beside an x (M, K) → (…, N).

    It is ``F.linear``, with its dtypes, gradients and autocast. Where no gradient is wanted, csrc/linear.cpp serves few rows of
    float32 on a CPU with AVX2; a row's numbers then do not depend on how many rows there are.
    """
    if not _serves(x, weight, added):
        return F.linear(x, weight, added) if added is None or added.ndim == 1 else torch.addmm(added, x, weight.t())
    x = x.contiguous()
    outputs, inputs = weight.shape
    y = x.new_empty(*x.shape[:-1], outputs)
    start, step = (None, 0) if added is None else (added.data_ptr(), 0 if added.ndim == 1 else added.stride(0))
    sizes = x.numel() // inputs, inputs, outputs, step
    _linear(*sizes, x.data_ptr(), weight.data_ptr(), start, y.data_ptr(), threads(weight.numel()))
    return y


def _serves(x: Tensor, weight: Tensor, added: Tensor | None) -> bool:
    """Whether the native kernel may take these. Whatever it does not take, torch takes or refuses."""
    outputs, inputs = weight.shape
    return (
        WIDE
        and weight.numel() >= _LARGE
        and not torch.compiler.is_compiling()  # first: to look at sizes would bind a compiled graph to them
        and 0 < x.numel() <= _FEW * inputs
        and x.is_cpu
        and not watched((x, weight) if added is None else (x, weight, added))
        and x.dtype is weight.dtype is torch.float32
        and x.shape[-1] == inputs
        and weight.is_cpu
        and weight.is_contiguous()
        and (added is None or _fits(added, (x.numel() // inputs, outputs)))
        and not torch.is_autocast_enabled("cpu")
        and serving("cpu") == "native"
    )


def _fits(added: Tensor, shape: tuple[int, int]) -> bool:
    """Whether it is one row, or these rows, of float32 on a CPU."""
    return (
        added.dtype is torch.float32
        and added.is_cpu
        and (added.shape == shape or added.shape == shape[1:])
        and added.stride(-1) == 1
    )
