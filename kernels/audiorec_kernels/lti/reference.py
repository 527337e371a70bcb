"""The definition of the linear time-invariant scan, in plain torch: step by step, and in chunks for many frames.

There is no other on a CPU: the chunks are matrix products, which torch does as fast as anyone.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from audiorec_kernels.arguments import padding
from audiorec_kernels.precision import full_precision

# Frames of one chunk. The work per frame and channel is (_CHUNK + d) · d, the loop's length T / _CHUNK.
_CHUNK = 16
# Frames up to which single steps are faster.
_FEW = 8


def lti_scan(
    u: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor | None,
    initial_state: Tensor | None,
    lengths: Tensor | None,
    reset: Tensor | None,
) -> tuple[Tensor, Tensor]:
    return scan(u, A, B, C, initial_state, lengths, reset, _CHUNK, carry)


def carry(added: Tensor, power: Tensor, m: Tensor, reset: Tensor | None) -> Tensor:
    """(B, n + 1, K, d): m, and what becomes of it step by step; ``added`` (B, n, K, d), m → m power + added.

    Where ``reset`` (B, n) is true, that step begins from zero.
    """
    memories = [m]
    resets = [None] * added.shape[1] if reset is None else reset[..., None, None].unbind(1)
    for x, begins in zip(added.unbind(1), resets, strict=True):
        m = m if begins is None else m.masked_fill(begins, 0)
        m = m @ power + x
        memories.append(m)
    return torch.stack(memories, 1)


Carry = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


def scan(
    u: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor | None,
    initial_state: Tensor | None,
    lengths: Tensor | None,
    reset: Tensor | None,
    size: int,
    carry: Carry,
) -> tuple[Tensor, Tensor]:
    """In chunks of ``size`` frames, or where these are few or a reset may cut a chunk in two, frame by frame."""
    y_dtype, dtype = u.dtype, torch.promote_types(u.dtype, torch.float32)
    batch, time, channels = u.shape
    if initial_state is None:
        initial_state = u.new_zeros(batch, channels, B.shape[0], dtype=dtype)
    u, A, B, m = u.to(dtype), A.to(dtype), B.to(dtype), initial_state.to(dtype)
    C = None if C is None else C.to(dtype)
    if lengths is not None:
        past = padding(u, lengths)[..., None]
        u = u.masked_fill(past, 0)
        reset = None if reset is None else reset & ~past[..., 0]
    with full_precision(u):
        if reset is None and time > _FEW:
            y, m = _in_chunks(u, A, B, C, m, lengths, size, carry)
        else:
            y, m = _in_steps(u, A, B, C, m, lengths, reset, carry)
    return (y if lengths is None else y.masked_fill(past[..., None], 0)).to(y_dtype), m


def _in_steps(
    u: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor | None,
    m: Tensor,
    lengths: Tensor | None,
    reset: Tensor | None,
    carry: Carry,
) -> tuple[Tensor, Tensor]:
    memories = carry(u[..., None] * B, A.T, m, reset)
    end = memories[:, -1] if lengths is None else memories[torch.arange(lengths.shape[0], device=u.device), lengths]
    memories = memories[:, 1:].contiguous()
    return (memories if C is None else torch.einsum("btkd,kqd->btkq", memories, C)), end


def _in_chunks(
    u: Tensor, A: Tensor, B: Tensor, C: Tensor | None, m: Tensor, lengths: Tensor | None, size: int, carry: Carry
) -> tuple[Tensor, Tensor]:
    """In a chunk that begins from m, m_i = A^{i+1} m + Σ_{j ≤ i} A^{i−j} B u_j: products with two fixed matrices.

    This is the convolution of Chilkuri and Eliasmith 2021, cut into chunks of L frames. Only the memories at the n starts
    of chunks are made one after another.
    """
    time = u.shape[1]
    chunks = F.pad(u, (0, 0, 0, -time % size)).unflatten(1, (-1, size))  # (B, n, L, K)
    powers = _powers(A, size)  # (L + 1, d, d): A^0 … A^L
    impulse = powers[:-1] @ B  # (L, d): B … A^{L−1} B
    added = torch.einsum("bnjk,jd->bnkd", chunks, impulse.flip(0))
    starts = carry(added, powers[-1].T, m, None)  # the last is the end of the last chunk

    # What a frame's y takes from each input before it (L, k, q) and from the chunk's start (L, k, q, d): k is 1 and
    # q is d without a read-out.
    response, decay = impulse[:, None], powers[1:, None]
    if C is not None:
        response, decay = torch.einsum("kqd,id->ikq", C, impulse), torch.einsum("kqd,ide->ikqe", C, powers[1:])
    lags = torch.arange(size, device=u.device)
    toeplitz = _at_lags(response, lags[:, None] - lags)  # (L, L, k, q)
    y = torch.einsum("bnjk,ijkq->bnikq", chunks, toeplitz) + torch.einsum("bnke,ikqe->bnikq", starts[:, :-1], decay)

    if lengths is None:
        lengths = torch.full((len(m),), time, device=u.device)
    # The memory at a row's own end: on from the start of the chunk that holds it.
    rows, chunk, rest = torch.arange(lengths.shape[0], device=u.device), lengths // size, lengths % size
    begun = chunks[rows, chunk.clamp(max=chunks.shape[1] - 1)]
    weights = _at_lags(impulse, rest[:, None] - 1 - lags)
    end = starts[rows, chunk] @ powers[rest].transpose(1, 2) + begun.transpose(1, 2) @ weights
    return y.flatten(1, 2)[:, :time], torch.where(lengths[:, None, None] > 0, end, m)


def _at_lags(response: Tensor, lags: Tensor) -> Tensor:
    """``response`` (L, …) at these lags: zero before it begins."""
    return response[lags.clamp(min=0)] * (lags >= 0).reshape(*lags.shape, *[1] * (response.ndim - 1))


def _powers(A: Tensor, count: int) -> Tensor:
    """(count + 1, d, d): A^0 … A^count, each product doubling how many there are."""
    powers = torch.stack([torch.eye(len(A), dtype=A.dtype, device=A.device), A])
    while len(powers) <= count:
        powers = torch.cat([powers, powers[1:] @ powers[-1]])
    return powers[: count + 1]
