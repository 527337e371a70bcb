"""A linear layer where no gradient is wanted: of few rows, as a live stream has, and of many, as an engine and a file have."""

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

# Rows and numbers in a weight from which on oneDNN's products are at least as fast as torch's own, MKL's: on AMD's processors MKL
# leaves half of the vectors unused (docs/measurements.md). oneDNN lays the weight out anew each time, which many rows are worth.
_MANY, _MEDIUM = 64, 1 << 15
_onednn = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None

_linear = kernel("linear", sizes=4, tensors=4)


def linear(x: Tensor, weight: Tensor, added: Tensor | None = None) -> Tensor:
    """x Wᵀ + added: ``x`` (…, K), ``weight`` (N, K), ``added`` (N,), or (M, N) beside an x (M, K) → (…, N).

    It is ``F.linear``, with its dtypes, gradients and autocast. Where no gradient is wanted, csrc/linear.cpp serves few rows of
    float32 on a CPU with AVX2; a row's numbers then do not depend on how many rows there are. Many rows oneDNN serves.
    """
    if _serves(x, weight, added):
        return _native(x, weight, added)
    if weight.is_mkldnn or _onednn_serves(x, weight, added):
        x = x.contiguous()
        if added is None or added.ndim == 1:
            return _onednn(x, weight, added, "none", [], "")
        return _onednn.binary(x, added, weight, None, "add")
    return F.linear(x, weight, added) if added is None or added.ndim == 1 else torch.addmm(added, x, weight.t())


def packed(weight: Tensor, x: Tensor) -> Tensor:
    """``weight`` as ``linear`` takes it for several products with rows like ``x`` (M, K): laid out once, where that pays."""
    if _onednn is None or not (_rows(x, weight) > _FEW and weight.numel() >= _LARGE and _plain(x, weight, None)):
        return weight
    return torch.ops.mkldnn._reorder_linear_weight(weight)


def _native(x: Tensor, weight: Tensor, added: Tensor | None) -> Tensor:
    x = x.contiguous()
    outputs, inputs = weight.shape
    y = x.new_empty(*x.shape[:-1], outputs)
    start, step = (None, 0) if added is None else (added.data_ptr(), 0 if added.ndim == 1 else added.stride(0))
    sizes = x.numel() // inputs, inputs, outputs, step
    _linear(*sizes, x.data_ptr(), weight.data_ptr(), start, y.data_ptr(), threads(weight.numel()))
    return y


def _serves(x: Tensor, weight: Tensor, added: Tensor | None) -> bool:
    """Whether the native kernel may take these."""
    return (
        weight.numel() >= _LARGE
        and 0 < _rows(x, weight) <= _FEW
        and weight.is_contiguous()
        and _plain(x, weight, added)
    )


def _onednn_serves(x: Tensor, weight: Tensor, added: Tensor | None) -> bool:
    return (
        _onednn is not None
        and weight.numel() >= _MEDIUM
        and _rows(x, weight) >= _MANY
        and _plain(x, weight, added)
        and (weight.is_contiguous() or weight.t().is_contiguous())
    )


def _rows(x: Tensor, weight: Tensor) -> float:
    """Rows of x; 0 while a graph is compiled, which a look at sizes would bind to them."""
    return 0 if torch.compiler.is_compiling() else x.numel() / weight.shape[1]


def _plain(x: Tensor, weight: Tensor, added: Tensor | None) -> bool:
    """Whether these are what either computes. Whatever they do not take, torch takes or refuses."""
    outputs, inputs = weight.shape
    return (
        WIDE
        and x.is_cpu
        and not watched((x, weight) if added is None else (x, weight, added))
        and x.dtype is weight.dtype is torch.float32
        and x.shape[-1] == inputs
        and weight.is_cpu
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
