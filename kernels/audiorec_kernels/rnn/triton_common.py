"""What the LSTM and the GRU share on a GPU: who runs on chip, products over all frames at once, and parts of kernels."""

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.runtime.jit import KernelInterface

from audiorec_kernels.launch import launch
from audiorec_kernels.precision import full_precision

# Rows of one program that keeps its matrix on chip: as many as a matrix instruction takes. Where that makes fewer programs
# than the GPU has processors, half as many: the instructions stay as many, but a thread then has half of the gates.
_ROWS = 16
_PROCESSORS = 132  # of an H100 or H200
# Bytes of a recurrent matrix that a multiprocessor holds beside the frames in flight.
_ON_CHIP = 128 << 10
# Channels of one program of a frame.
_BLOCK = 256


def fits(R: Tensor) -> bool:
    """Whether a head's matrix of ``R`` (H, D, gates, D) stays on chip over all frames; else every frame has its product."""
    _, dim, gates, _ = R.shape
    return gates * _padded(dim) ** 2 * R.element_size() <= _ON_CHIP


def chip(R: Tensor, rows: int) -> tuple[tuple[int, int], dict[str, int]]:
    """Grid and constants of a kernel that keeps ``R`` on chip."""
    heads, dim = R.shape[:2]
    tile = _ROWS if heads * triton.cdiv(rows, _ROWS) >= _PROCESSORS else _ROWS // 2
    warps = 8 if dim > 32 else 4
    return (heads, triton.cdiv(rows, tile)), {"ROWS": tile, "DIM": _padded(dim), "num_warps": warps}


def forward_frames(kernel: KernelInterface, R: Tensor, h: Tensor, y: Tensor, *tensors: Tensor | None) -> None:
    """For every frame a product of R and the state before it, ``h`` or a frame of ``y``; then the kernel, which writes y."""
    rows, time, heads, dim = y.shape
    before, grid = h.to(R.dtype), (rows, triton.cdiv(heads * dim, _BLOCK))
    with full_precision(R):
        for t in range(time):
            products = before.transpose(0, 1) @ R.flatten(2)
            launch(kernel, grid, products, *tensors, t, rows, time, heads, dim, BLOCK=_BLOCK)
            before = y[:, t]


def backward_frames(kernel: KernelInterface, R: Tensor, dh: Tensor, time: int, *tensors: Tensor | None) -> None:
    """The same from the end. ``dh`` (B, H, D) receives the first state's gradient.

    What comes to a state through R is rounded to R's dtype; it is added up in float32.
    """
    (heads, dim, gates, _), rows = R.shape, len(dh)
    dproducts, dbefore = R.new_empty(heads, rows, gates * dim), R.new_zeros(heads, rows, dim)
    grid = rows, triton.cdiv(heads * dim, _BLOCK)
    with full_precision(R):
        for t in reversed(range(time)):
            launch(kernel, grid, dproducts, dbefore, *tensors, dh, t, rows, time, heads, dim, BLOCK=_BLOCK)
            dbefore = dproducts @ R.flatten(2).mT
    dh += dbefore.transpose(0, 1)


def states_before(y: Tensor, h: Tensor, reset: Tensor | None) -> Tensor:
    """(H, B·T, D): the state that meets R at each frame, from the outputs and the first state; zeros where reset."""
    rows, time, heads, dim = y.shape
    before = torch.cat([h[:, None].to(y.dtype), y], 1)[:, :time]
    if reset is not None:
        before = before.masked_fill(reset[..., None, None].bool(), 0)
    return before.permute(2, 0, 1, 3).contiguous().view(heads, rows * time, dim)


def by_head(gates: Tensor) -> Tensor:
    """(B, T, gates, H, D) → (H, B·T, gates · D)."""
    rows, time, count, heads, dim = gates.shape
    return gates.permute(3, 0, 1, 2, 4).reshape(heads, rows * time, count * dim)


def _padded(dim: int) -> int:
    return max(16, triton.next_power_of_2(dim))


@triton.jit
def tanh(x):
    return 2 * tl.sigmoid(2 * x) - 1


@triton.jit
def matrix(R_ptr, head, dim, gate, GATES: tl.constexpr, DIM: tl.constexpr):
    """(state's channel, gate's channel) of one gate of ``R`` (H, D, gates, D)."""
    k, d = tl.arange(0, DIM)[:, None], tl.arange(0, DIM)[None, :]
    return tl.load(R_ptr + ((head * dim + k) * GATES + gate) * dim + d, (k < dim) & (d < dim), 0.0)


@triton.jit
def transposed(R_ptr, head, dim, gate, GATES: tl.constexpr, DIM: tl.constexpr):
    """(gate's channel, state's channel) of one gate of ``R`` (H, D, gates, D)."""
    k, d = tl.arange(0, DIM)[:, None], tl.arange(0, DIM)[None, :]
    return tl.load(R_ptr + ((head * dim + d) * GATES + gate) * dim + k, (k < dim) & (d < dim), 0.0)
