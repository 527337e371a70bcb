"""The checks of all families' arguments, and helpers for ``lengths`` and ``reset``."""

from collections.abc import Sequence

import torch
from torch import Tensor

# A letter an axis, or its size.
Axes = str | tuple[str | int, ...]


def check(function: str, lengths: Tensor | None, reset: Tensor | None, **tensors: tuple[Tensor | None, Axes]) -> None:
    """Raise a ValueError that names the argument unless all agree in shape, device and dtype.

    ``tensors`` gives each argument and its shape, a letter or a number an axis: ``a=(a, "BTD")``. A letter is one size
    throughout; B and T are those of ``lengths`` (B,) and ``reset`` (B, T). On a GPU the values of ``lengths`` are not
    looked at: that would wait for it, and kernels stay within T.
    """
    if torch.compiler.is_compiling():
        return  # the guards of a compiled graph and the operators' fakes check instead
    sizes: dict[str, int] = {}
    first: tuple[str, Tensor] | None = None
    for name, (x, axes) in tensors.items():
        if x is None:
            continue
        _check_shape(function, name, x, axes, sizes)
        if not x.is_floating_point():
            raise ValueError(f"{function}: {name} must be floating point, got {x.dtype}")
        if first is None:
            first = name, x
            continue
        if x.device != first[1].device:
            raise ValueError(f"{function}: {name} is on {x.device}, {first[0]} on {first[1].device}; move one")
        if (x.dtype is torch.float64) != (first[1].dtype is torch.float64):
            raise ValueError(f"{function}: {name} is {x.dtype}, {first[0]} {first[1].dtype}; float64 goes with float64")
    device = first[1].device
    if lengths is not None:
        _check_shape(function, "lengths", lengths, "B", sizes)
        if lengths.dtype not in (torch.int64, torch.int32):
            raise ValueError(f"{function}: lengths must be int64 or int32, got {lengths.dtype}")
        if lengths.device != device:
            raise ValueError(f"{function}: lengths is on {lengths.device}, {first[0]} on {device}; move one")
        if device.type == "cpu" and (wrong := [n for n in lengths.tolist() if not 0 <= n <= sizes["T"]]):
            raise ValueError(f"{function}: lengths must lie in 0 … {sizes['T']}, the frames given; got {wrong[0]}")
    if reset is not None:
        _check_shape(function, "reset", reset, "BT", sizes)
        if reset.dtype is not torch.bool:
            raise ValueError(f"{function}: reset must be bool, got {reset.dtype}")
        if reset.device != device:
            raise ValueError(f"{function}: reset is on {reset.device}, {first[0]} on {device}; move one")


def _check_shape(function: str, name: str, x: Tensor, axes: Axes, sizes: dict[str, int]) -> None:
    shape = tuple(x.shape)
    if len(shape) == len(axes) and all(_size(a, sizes, n) == n for a, n in zip(axes, shape, strict=True)):
        return
    wanted = (f"{axis} = {sizes[axis]}" if axis in sizes else str(axis) for axis in axes)
    raise ValueError(f"{function}: {name} must be ({', '.join(wanted)}), got {shape}")


def _size(axis: str | int, sizes: dict[str, int], size: int) -> int:
    """The size that an axis must have: the first size of its letter, which ``sizes`` remembers."""
    return axis if isinstance(axis, int) else sizes.setdefault(axis, size)


def padding(x: Tensor, lengths: Tensor) -> Tensor:
    """(B, T) bool: true past each row's length; ``x`` is (B, T, …)."""
    return torch.arange(x.shape[1], device=x.device) >= lengths[:, None]


def frames_of(reset: Tensor | None, lengths: Tensor | None, x: Tensor) -> Sequence[Tensor | None]:
    """``reset`` frame by frame, (B, 1) each and false past each row's length, or None T times; ``x`` is (B, T, …)."""
    if reset is None:
        return [None] * x.shape[1]
    reset = reset if lengths is None else reset & ~padding(x, lengths)
    return reset[..., None].unbind(1)


def dense(x: Tensor | None, dtype: torch.dtype = torch.float32) -> Tensor | None:
    """``x`` as kernels read it: contiguous, of this dtype. Differentiable; ``x`` itself where it is so already."""
    if x is None or (x.dtype is dtype and x.is_contiguous()):
        return x
    return x.to(dtype).contiguous()
