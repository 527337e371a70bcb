"""The time-invariant scan on an NVIDIA GPU: products of torch's, and one kernel that carries the memory from chunk to chunk."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from audiorec_kernels.arguments import dense, padding
from audiorec_kernels.launch import launch
from audiorec_kernels.lti import reference
from audiorec_kernels.operator import Operator

# Frames of one chunk: products within it grow with it, the kernel's loop shrinks.
_CHUNK = 32
# The largest memory of which a power of A fits on chip.
_LARGEST = 128
_ROWS = 16


def lti_scan(
    u: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor | None,
    initial_state: Tensor | None,
    lengths: Tensor | None,
    reset: Tensor | None,
) -> tuple[Tensor, Tensor]:
    batch, time, channels = u.shape
    # A reset cuts chunks in two, for which the products have no place.
    if time == 0 or reset is not None or len(B) > _LARGEST:
        return reference.lti_scan(u, A, B, C, initial_state, lengths, reset)
    if lengths is None:
        lengths = torch.full((batch,), time, device=u.device)
    m = u.new_zeros(batch, channels, len(B), dtype=torch.float32) if initial_state is None else initial_state.float()
    past = padding(u, lengths)[..., None, None]
    inputs = u.masked_fill(past[..., 0], 0).float(), A.float(), B.float(), None if C is None else C.float(), m
    with torch.autocast(u.device.type, enabled=False):
        y, m = reference.in_chunks(*inputs, lengths, _CHUNK, _carry)
    return y.masked_fill(past, 0).to(u.dtype), m


def _carry(added: Tensor, power: Tensor, m: Tensor) -> Tensor:
    starts, last = _OPERATOR(dense(added), dense(power), dense(m))
    return torch.cat([starts, last[:, None]], 1)


def _outputs(added: Tensor, power: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
    """The memory (B, n, K, d) before each chunk, and after the last."""
    return torch.empty_like(added), torch.empty_like(m)


def _forward(added: Tensor, power: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
    starts, last = _outputs(added, power, m)
    batch, chunks, channels, order = added.shape
    constants = {"ROWS": _ROWS, "ORDER": max(16, triton.next_power_of_2(order)), "num_warps": 8 if order > 32 else 4}
    grid = (triton.cdiv(batch * channels, _ROWS),)
    launch(_kernel, grid, added, power, m, starts, last, batch, chunks, channels, order, **constants)
    return starts, last


def _gradients(dstarts: Tensor, dlast: Tensor, power: Tensor, starts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(starts), torch.empty_like(power), torch.empty_like(dlast)


def _backward(dstarts: Tensor, dlast: Tensor, power: Tensor, starts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient is carried likewise, from the last chunk to the first."""
    found, dm = _forward(dstarts.flip(1).contiguous(), power.T.contiguous(), dlast.contiguous())
    dadded = found.flip(1)
    return dadded, torch.einsum("bnkd,bnke->de", starts, dadded), dm


def _keep(inputs: tuple, outputs: tuple) -> tuple:
    return inputs[1], outputs[0]


_OPERATOR = Operator("lti_carry_triton", _forward, _outputs, _keep, _backward, _gradients)


@triton.jit
def _kernel(
    added_ptr, power_ptr, m_ptr, starts_ptr, last_ptr, batch, chunks, channels, order,
    ROWS: tl.constexpr, ORDER: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]
    e = tl.arange(0, ORDER)[None, :]
    own = (row < batch * channels) & (e < order)
    k = tl.arange(0, ORDER)[:, None]
    power = tl.load(power_ptr + k * order + e, (k < order) & (e < order), 0.0)
    m = tl.load(m_ptr + row * order + e, own, 0.0)
    first = (row // channels).to(tl.int64) * chunks * channels + row % channels
    for chunk in tl.range(0, chunks, num_stages=2):
        at = (first + chunk * channels) * order + e
        tl.store(starts_ptr + at, m, own)
        added = tl.load(added_ptr + at, own, 0.0)
        m = tl.dot(m, power, added, input_precision="tf32x3")
    tl.store(last_ptr + row * order + e, m, own)
