"""A lattice with any sorts of arcs on an NVIDIA GPU: one program sweeps a row's levels there and back.

A level is an anti-diagonal s + t, or a frame where every arc leads to a later one; its nodes touch only the levels before,
whose sums stay in registers, as many levels of them as the longest arc spans. Arcs are asked for some levels ahead. The way
there writes each arc's share of the sum at the node it leads to where its occupancy is to stand; the way back multiplies it
by that node's probability.
"""

# ruff: noqa: RUF005 (Triton joins tuples, it does not unpack them)

import triton
import triton.language as tl
from torch import Tensor

from audiorec_kernels.arguments import dense
from audiorec_kernels.lattice.gradient import arc_operator, arc_outputs
from audiorec_kernels.lattice.reference import Moves
from audiorec_kernels.launch import launch
from audiorec_kernels.operator import Ints

# Levels whose arcs are asked for ahead; fewer where a level has many arcs to hold.
_AHEAD = 4
_HELD = 40
# Nodes of a warp: two a thread.
NODES_OF_A_WARP = 64
# log 0: finite, so that the difference of two of them is 0.
NEVER = tl.constexpr(-1e30)
LOG2_E = tl.constexpr(1.4426950408889634)


def arc_lattice(arcs: Tensor, moves: Moves, boundary: Tensor) -> Tensor:
    symbols, frames = zip(*moves, strict=True)
    score, _ = _ARCS(dense(arcs), list(symbols), list(frames), boundary.contiguous())
    return score.to(arcs.dtype)


def _forward(arcs: Tensor, symbols: Ints, frames: Ints, boundary: Tensor) -> tuple[Tensor, Tensor]:
    score, occupancy = arc_outputs(arcs, symbols, frames, boundary)
    occupancy.zero_()
    sorts, batch, rows, columns = arcs.shape
    skew = int(min(frames) == 0)
    span = max(dt + skew * ds for ds, dt in zip(symbols, frames, strict=True))
    width = max(32, triton.next_power_of_2(rows))
    constants = {"SYMBOLS": tuple(symbols), "FRAMES": tuple(frames), "SPAN": span, "SKEW": skew, "NODES": width}
    constants |= {
        "AHEAD": max(1, min(_AHEAD, _HELD // sorts)),
        "num_warps": min(16, triton.cdiv(width, NODES_OF_A_WARP)),
    }
    launch(_kernel, (batch,), arcs, boundary, score, occupancy, batch, rows - 1, columns - 1, **constants)
    return score, occupancy


_ARCS = arc_operator("arc_lattice_triton", _forward)


@triton.jit
def box(boundary_ptr, row, symbols, frames):
    """First symbol and frame of a row, and how many of each it has, all within the lattice."""
    first_s = tl.minimum(tl.maximum(tl.load(boundary_ptr + 4 * row), 0), symbols).to(tl.int32)
    first_t = tl.minimum(tl.maximum(tl.load(boundary_ptr + 4 * row + 1), 0), frames).to(tl.int32)
    last_s = tl.minimum(tl.load(boundary_ptr + 4 * row + 2), symbols).to(tl.int32)
    last_t = tl.minimum(tl.load(boundary_ptr + 4 * row + 3), frames).to(tl.int32)
    return first_s, first_t, tl.maximum(last_s - first_s, 0), tl.maximum(last_t - first_t, 0)


@triton.jit
def finite(x):
    """float64, −inf as a finite number; what is not a number stays so."""
    return tl.where(x < NEVER, NEVER, x).to(tl.float64)


@triton.jit
def _into(k: tl.constexpr, level, s, last_s, last_t, SYMBOLS: tl.constexpr, FRAMES: tl.constexpr, SKEW: tl.constexpr):
    """Of sort k and each node s of a level: the node that its arc comes from, and whether both are in the box."""
    from_s, from_t = s - SYMBOLS[k], level - SKEW * s - FRAMES[k]
    exists = (from_s >= 0) & (s <= last_s) & (from_t >= 0) & (from_t + FRAMES[k] <= last_t)
    return from_s, from_t, exists


@triton.jit
def _out_of(k: tl.constexpr, level, s, last_s, last_t, SYMBOLS: tl.constexpr, FRAMES: tl.constexpr, SKEW: tl.constexpr):
    """Of sort k and each node s of a level: the node's frame, and whether it and the node its arc leads to are in the box."""
    t = level - SKEW * s
    return t, (t >= 0) & (t + FRAMES[k] <= last_t) & (s + SYMBOLS[k] <= last_s)


@triton.jit
def _kernel(
    arcs_ptr, boundary_ptr, score_ptr, occupancy_ptr, batch, symbols, frames,
    SYMBOLS: tl.constexpr, FRAMES: tl.constexpr, SPAN: tl.constexpr, SKEW: tl.constexpr, NODES: tl.constexpr,
    AHEAD: tl.constexpr,
):  # fmt: skip
    K: tl.constexpr = len(SYMBOLS)
    row = tl.program_id(0).to(tl.int64)
    first_s, first_t, last_s, last_t = box(boundary_ptr, row, symbols, frames)
    s = tl.arange(0, NODES)
    stride = frames + 1
    sort = batch.to(tl.int64) * (symbols + 1) * stride
    start = (row * (symbols + 1) + first_s) * stride + first_t
    arcs_ptr, occupancy_ptr = arcs_ptr + start, occupancy_ptr + start
    last = last_t + SKEW * last_s

    # Sums of the SPAN levels before, the nearest first. Before the first level there are none.
    never = tl.full((NODES,), NEVER, tl.float64)
    sums = (tl.where(s == 0, 0.0, never),)
    for _ in tl.static_range(SPAN - 1):
        sums += (never,)
    ahead = ()
    for level in tl.static_range(1, AHEAD + 1):
        for k in tl.static_range(K):
            from_s, from_t, exists = _into(k, level, s, last_s, last_t, SYMBOLS, FRAMES, SKEW)
            ahead += (tl.load(arcs_ptr + k * sort + from_s * stride + from_t, exists, NEVER),)
    for level in range(1, last + 1):
        for k in tl.static_range(K):
            from_s, from_t, exists = _into(k, level + AHEAD, s, last_s, last_t, SYMBOLS, FRAMES, SKEW)
            ahead += (tl.load(arcs_ptr + k * sort + from_s * stride + from_t, exists, NEVER),)
        x = ()
        for k in tl.static_range(K):
            before = sums[FRAMES[k] + SKEW * SYMBOLS[k] - 1]
            if SYMBOLS[k] > 0:
                before = tl.gather(before, (s + NODES - SYMBOLS[k]) % NODES, 0)
            x += (before + finite(ahead[k]),)
        largest = x[0]
        for k in tl.static_range(1, K):
            largest = tl.where(x[k] <= largest, largest, x[k])
        ahead = ahead[K:]
        shares, total = (), tl.zeros((NODES,), tl.float32)
        for k in tl.static_range(K):
            shares += (tl.exp2((x[k] - largest).to(tl.float32) * LOG2_E),)
            total += shares[k]
        for k in tl.static_range(K):
            from_s, from_t, exists = _into(k, level, s, last_s, last_t, SYMBOLS, FRAMES, SKEW)
            tl.store(occupancy_ptr + k * sort + from_s * stride + from_t, shares[k] / total, exists)
        sums = (largest + tl.log(total).to(tl.float64),) + sums[: SPAN - 1]
    end = tl.sum(tl.where(s == last_s, sums[0], 0.0), 0)
    reached = tl.where(end < 0.1 * NEVER, 0.0, 1.0)
    tl.store(score_ptr + row, tl.where(reached > 0, end, float("-inf")))

    tl.debug_barrier()  # the shares, which other threads stored
    nothing = tl.zeros((NODES,), tl.float32)
    gammas = ()
    for _ in tl.static_range(SPAN):
        gammas += (nothing,)
    ahead = ()
    for back in tl.static_range(AHEAD):
        for k in tl.static_range(K):
            t, exists = _out_of(k, last - back, s, last_s, last_t, SYMBOLS, FRAMES, SKEW)
            ahead += (tl.load(occupancy_ptr + k * sort + s * stride + t, exists, 0.0),)
    for back in range(last + 1):
        level = last - back
        for k in tl.static_range(K):
            t, exists = _out_of(k, level - AHEAD, s, last_s, last_t, SYMBOLS, FRAMES, SKEW)
            ahead += (tl.load(occupancy_ptr + k * sort + s * stride + t, exists, 0.0),)
        gamma = tl.where((s == last_s) & (back == 0), reached, nothing)
        for k in tl.static_range(K):
            t, exists = _out_of(k, level, s, last_s, last_t, SYMBOLS, FRAMES, SKEW)
            after = gammas[FRAMES[k] + SKEW * SYMBOLS[k] - 1]
            if SYMBOLS[k] > 0:
                after = tl.gather(after, (s + SYMBOLS[k]) % NODES, 0)
            flow = tl.where(exists, ahead[k] * after, 0.0)
            tl.store(occupancy_ptr + k * sort + s * stride + t, flow, exists)
            gamma += flow
        ahead = ahead[K:]
        gammas = (gamma,) + gammas[: SPAN - 1]
