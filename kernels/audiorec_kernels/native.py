"""The native library (csrc/) for torch: called with tensors, on torch's threads."""

import ctypes
import os
import sys
from collections.abc import Callable

import torch  # first: the library then shares torch's OpenMP
from torch import Tensor

from audiorec_kernels.library import ABSENT, LIBRARY, WIDE, function

__all__ = ["ABSENT", "LIBRARY", "WIDE", "kernel", "threads"]

# Elements below which a second thread costs more than it saves.
_FEW = 1 << 15

_HUGE_PAGE, _MADV_HUGEPAGE = 1 << 21, 14
_madvise = ctypes.CDLL(None).madvise if sys.platform == "linux" else None
if _madvise:
    _madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int

_forked = False


def _after_fork() -> None:
    global _forked
    _forked = True


# A forked process has none of the threads that OpenMP believes in: to use them is to wait for ever.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def threads(work: int) -> int:
    """Threads for a call that touches so many elements."""
    return 1 if work < _FEW or _forked else torch.get_num_threads()


def kernel(name: str, sizes: int, tensors: int) -> Callable[..., None]:
    """A function of the library, whose arguments are ``sizes`` integers, ``tensors`` contiguous tensors or None, threads."""
    found = None

    def call(*arguments: int | Tensor | None) -> None:
        nonlocal found
        if found is None:
            found = function(name, [*[ctypes.c_int64] * sizes, *[ctypes.c_void_p] * tensors, ctypes.c_int64])
        found(*[_address(x) if isinstance(x, Tensor) else x for x in arguments])

    return call


def _address(x: Tensor) -> int:
    """Where a tensor lies. New memory of a large one is asked for in huge pages: a fault for every 4 KB of it would cost more
    than a scan does."""
    start, size = x.data_ptr(), x.nbytes
    if _madvise and size >= 2 * _HUGE_PAGE:
        first = -(-start // _HUGE_PAGE) * _HUGE_PAGE
        _madvise(first, (start + size) // _HUGE_PAGE * _HUGE_PAGE - first, _MADV_HUGEPAGE)
    return start
