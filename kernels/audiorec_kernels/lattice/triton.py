"""The transducer's lattice on an NVIDIA GPU: one program sweeps a row's levels, a second kernel writes the occupancies.

A level is an anti-diagonal s + t (modified: a frame), whose nodes touch only the level before: one warp takes 64 nodes of a
level at once, keeps their sums in registers and passes them on by a shuffle; no two programs wait for one another.
What a level costs is latency, so its arcs are asked for a block of levels ahead, and the way back needs neither an
exponential nor a logarithm: as in reference.py it hands the end's probability back along the shares that the way there
left, which also keeps occupancies summing to one. Both lie by level, a node beside the next; the second kernel turns them.
"""

import triton
import triton.language as tl
from torch import Tensor

from audiorec_kernels.arguments import dense
from audiorec_kernels.lattice.gradient import transducer_operator, transducer_outputs
from audiorec_kernels.lattice.triton_arcs import LOG2_E, NEVER, NODES_OF_A_WARP, arc_lattice, box, finite
from audiorec_kernels.launch import launch

__all__ = ["arc_lattice", "transducer_lattice"]

# Levels asked for at once: their arithmetic takes longer than memory does. Fewer where threads have many nodes to hold.
_LEVELS = 8
_TILE = {"LEVELS": 32, "NODES": 32, "num_warps": 4}
# log(1 + r) = r (c_0 + c_1 r + …) for r in [0, 1], the best such polynomial: off by 3e-8.
_LOG1P = tl.constexpr(
    (1.0, -0.49999553, 0.333203435, -0.248529449, 0.191451147, -0.137466192, 0.0792106986, -0.0301109385, 0.00538405497)
)


def transducer_lattice(px: Tensor, py: Tensor, boundary: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    results = _TRANSDUCER(dense(px), dense(py), boundary.contiguous())
    return tuple(x.to(px.dtype) for x in results)


def _forward(px: Tensor, py: Tensor, boundary: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    score, px_occupancy, py_occupancy = transducer_outputs(px, py, boundary)
    batch, nodes, frames = py.shape
    skew = px.shape[2] - frames
    levels, width = frames + skew * (nodes - 1), max(32, triton.next_power_of_2(nodes))
    warps = min(16, triton.cdiv(width, NODES_OF_A_WARP))
    at_once = max(1, min(_LEVELS, _LEVELS * warps * NODES_OF_A_WARP // width))
    shares, gammas = px.new_empty(2, batch, triton.cdiv(max(levels, 1), at_once) * at_once, width)
    tensors, sizes = (boundary, shares, gammas), (nodes - 1, frames, shares.shape[1])
    constants = {"SKEW": skew, "LEVELS": at_once, "NODES": width, "num_warps": warps}
    launch(_sweep_kernel, (batch,), px, py, *tensors, score, *sizes, **constants)
    grid = batch, triton.cdiv(levels, _TILE["LEVELS"]), triton.cdiv(nodes, _TILE["NODES"])
    launch(_give_kernel, grid, *tensors, px_occupancy, py_occupancy, *sizes, WIDTH=width, SKEW=skew, **_TILE)
    return score, px_occupancy, py_occupancy


_TRANSDUCER = transducer_operator("transducer_lattice_triton", _forward)


@triton.jit
def _arcs(ptr, level, begin, end, other, LEVELS: tl.constexpr):
    """Of each of LEVELS levels the arc into each node, where its frame exists."""
    arcs = ()
    for k in tl.static_range(LEVELS):
        arcs += (tl.load(ptr + level + k, (level + k >= begin) & (level + k < end), other),)
    return arcs


@triton.jit
def _levels(ptr, level, LEVELS: tl.constexpr, NODES: tl.constexpr):
    values = ()
    for k in tl.static_range(LEVELS):
        values += (tl.load(ptr + (level + k) * NODES),)
    return values


@triton.jit
def _sweep_kernel(
    px_ptr, py_ptr, boundary_ptr, share_ptr, gamma_ptr, score_ptr, symbols, frames, levels,
    SKEW: tl.constexpr, LEVELS: tl.constexpr, NODES: tl.constexpr,
):  # fmt: skip
    """shares (B, levels, NODES): of the level's arcs into node s, which two make up its sum, the share that the symbol's has.

    gammas (B, levels, NODES): the probability of the node they lead to.
    """
    row = tl.program_id(0).to(tl.int64)
    first_s, first_t, last_s, last_t = box(boundary_ptr, row, symbols, frames)
    s = tl.arange(0, NODES)
    # A place beyond the ends is one that no path enters or leaves: what it passes on counts for nothing.
    before, after = (s + NODES - 1) % NODES, (s + 1) % NODES
    # Level n has the blank of (s, n − SKEW s), and the symbol that leads to s.
    begin_y, begin_x = SKEW * s, SKEW * (s - 1)
    end_y = tl.where(s <= last_s, begin_y + last_t, 0)
    end_x = tl.where((s > 0) & (s <= last_s), begin_x + last_t + SKEW, 0)
    px_ptr += (row * symbols + first_s + s - 1) * (frames + SKEW) + first_t - begin_x
    py_ptr += (row * (symbols + 1) + first_s + s) * frames + first_t - begin_y
    share_ptr += row * levels * NODES + s
    gamma_ptr += row * levels * NODES + s
    # Levels are padded to whole blocks: past its end the last node loops on itself with log-probability 0, and keeps its sum.
    hold = tl.where(s == last_s, 0.0, NEVER)

    last = last_t + SKEW * last_s
    alpha = tl.where(s == 0, 0.0, NEVER).to(tl.float64)
    px = _arcs(px_ptr, 0, begin_x, end_x, NEVER, LEVELS)
    py = _arcs(py_ptr, 0, begin_y, end_y, hold, LEVELS)
    for level in range(0, last, LEVELS):
        px_next = _arcs(px_ptr, level + LEVELS, begin_x, end_x, NEVER, LEVELS)
        py_next = _arcs(py_ptr, level + LEVELS, begin_y, end_y, hold, LEVELS)
        for k in tl.static_range(LEVELS):
            x, y = tl.gather(alpha, before, 0) + finite(px[k]), alpha + finite(py[k])
            # Sums are float64, for a float32 score of 1e4 has no digits left for the ratio of two paths.
            gap = (x - y).to(tl.float32)
            ratio = tl.exp2(tl.abs(gap) * -LOG2_E)
            larger = 1 / (1 + ratio)
            tl.store(share_ptr + (level + k) * NODES, tl.where(gap < 0, ratio * larger, larger))
            log1p = tl.full((NODES,), _LOG1P[8], tl.float32)
            for c in tl.static_range(7, -1, -1):
                log1p = log1p * ratio + _LOG1P[c]
            alpha = tl.where(gap < 0, y, x) + (log1p * ratio).to(tl.float64)
        px, py = px_next, py_next
    total = tl.sum(tl.where(s == last_s, alpha, 0.0), 0)
    reached = tl.where(total < 0.1 * NEVER, 0.0, 1.0)
    tl.store(score_ptr + row, tl.where(reached > 0, total, float("-inf")))

    tl.debug_barrier()  # the compiler may give a share to another thread than the one that stored it
    gamma = tl.where(s == last_s, reached, 0.0)
    blocks = tl.cdiv(last, LEVELS)
    top = tl.maximum(blocks - 1, 0) * LEVELS
    share = _levels(share_ptr, top, LEVELS, NODES)
    for block in range(blocks):
        level = top - block * LEVELS
        share_next = _levels(share_ptr, tl.maximum(level - LEVELS, 0), LEVELS, NODES)
        for k in tl.static_range(LEVELS - 1, -1, -1):
            tl.store(gamma_ptr + (level + k) * NODES, gamma)
            x = gamma * share[k]
            gamma = gamma - x + tl.gather(x, after, 0)
        share = share_next


@triton.jit
def _give_kernel(
    boundary_ptr, share_ptr, gamma_ptr, px_ptr, py_ptr, symbols, frames, levels,
    WIDTH: tl.constexpr, SKEW: tl.constexpr, LEVELS: tl.constexpr, NODES: tl.constexpr,
):  # fmt: skip
    """The occupancies: a tile of levels and nodes reads nodes side by side and writes frames side by side."""
    row = tl.program_id(0).to(tl.int64)
    first_s, first_t, last_s, last_t = box(boundary_ptr, row, symbols, frames)
    level = tl.program_id(1) * LEVELS + tl.arange(0, LEVELS)[:, None]
    s = tl.program_id(2) * NODES + tl.arange(0, NODES)[None, :]
    t_y, t_x = level - SKEW * s, level - SKEW * (s - 1)  # the frames of the arcs into s
    mask, own_s = (s >= first_s) & (s <= first_s + last_s), (s > first_s) & (s <= first_s + last_s)
    of_y = mask & (t_y >= first_t) & (t_y < first_t + last_t)
    of_x = own_s & (t_x >= first_t) & (t_x < first_t + last_t + SKEW)
    at = (row * levels + level - first_t - SKEW * first_s) * WIDTH + s - first_s
    gamma = tl.load(gamma_ptr + at, of_x | of_y, 0.0)
    x = gamma * tl.load(share_ptr + at, of_x | of_y, 0.0)
    at_x = (row * symbols + s - 1) * (frames + SKEW) + t_x
    at_y = (row * (symbols + 1) + s) * frames + t_y
    tl.store(px_ptr + at_x, tl.where(of_x, x, 0.0), (s > 0) & (s <= symbols) & (t_x >= 0) & (t_x < frames + SKEW))
    tl.store(py_ptr + at_y, tl.where(of_y, gamma - x, 0.0), (s <= symbols) & (t_y >= 0) & (t_y < frames))
