"""The time-invariant scan on an NVIDIA GPU: reference.py's products, and one kernel that carries the memory between them."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from audiorec_kernels.arguments import dense
from audiorec_kernels.launch import launch
from audiorec_kernels.lti import reference
from audiorec_kernels.operator import Operator

# Frames of one chunk: products within it grow with it, the kernel's loop shrinks.
_CHUNK = 32
# The largest memory of which a power of A fits on chip; torch's products carry a larger one.
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
    carry = _carry if len(B) <= _LARGEST else reference.carry
    return reference.scan(u, A, B, C, initial_state, lengths, reset, _CHUNK, carry)


def _carry(added: Tensor, power: Tensor, m: Tensor, reset: Tensor | None) -> Tensor:
    starts, last = _OPERATOR(dense(added), dense(power), dense(m), dense(reset, torch.uint8))
    return torch.cat([starts, last[:, None]], 1)


def _outputs(added: Tensor, power: Tensor, m: Tensor, reset: Tensor | None) -> tuple[Tensor, Tensor]:
    """The memory (B, n, K, d) before each step, and after the last."""
    return torch.empty_like(added), torch.empty_like(m)


def _forward(added: Tensor, power: Tensor, m: Tensor, reset: Tensor | None) -> tuple[Tensor, Tensor]:
    starts, last = _outputs(added, power, m, reset)
    batch, steps, channels, order = added.shape
    constants = {"ROWS": _ROWS, "ORDER": max(16, triton.next_power_of_2(order)), "num_warps": 8 if order > 32 else 4}
    grid = (triton.cdiv(batch * channels, _ROWS),)
    launch(_kernel, grid, added, power, m, reset, starts, last, batch, steps, channels, order, **constants)
    return starts, last


def _gradients(
    dstarts: Tensor, dlast: Tensor, power: Tensor, reset: Tensor | None, starts: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(starts), torch.empty_like(power), torch.empty_like(dlast)


def _backward(
    dstarts: Tensor, dlast: Tensor, power: Tensor, reset: Tensor | None, starts: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient is carried likewise, from the last step to the first, and stops at the same resets."""
    reversed_reset = None if reset is None else reset.flip(1)
    gradients, dm = _forward(dstarts.flip(1).contiguous(), power.T.contiguous(), dlast, reversed_reset)
    dadded = gradients.flip(1)
    if reset is not None:
        starts = starts.masked_fill(reset[..., None, None].bool(), 0)
    return dadded, torch.einsum("bnkd,bnke->de", starts, dadded), dm


def _keep(inputs: tuple, outputs: tuple) -> tuple:
    return inputs[1], inputs[3], outputs[0]


_OPERATOR = Operator("lti_carry_triton", _forward, _outputs, _keep, _backward, _gradients)


@triton.jit
def _kernel(
    added_ptr, power_ptr, m_ptr, reset_ptr, starts_ptr, last_ptr, batch, steps, channels, order,
    ROWS: tl.constexpr, ORDER: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]
    e = tl.arange(0, ORDER)[None, :]
    inside = row < batch * channels
    mask = inside & (e < order)
    k = tl.arange(0, ORDER)[:, None]
    power = tl.load(power_ptr + k * order + e, (k < order) & (e < order), 0.0)
    m = tl.load(m_ptr + row * order + e, mask, 0.0)
    first = (row // channels).to(tl.int64) * steps
    for step in tl.range(0, steps, num_stages=2):
        at = ((first + step) * channels + row % channels) * order + e
        tl.store(starts_ptr + at, m, mask)
        added = tl.load(added_ptr + at, mask, 0.0)
        if reset_ptr is not None:
            m = tl.where(tl.load(reset_ptr + first + step, inside, 0) != 0, 0.0, m)
        m = tl.dot(m, power, added, input_precision="tf32x3")
    tl.store(last_ptr + row * order + e, m, mask)
