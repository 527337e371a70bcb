"""The definition of the transducer's lattice: the sum over all paths and how often each arc is taken, in plain torch.

Two passes, no backward scores. The forward pass adds the arcs into each node and keeps each one's share of the sum; the
second hands the probability of the end node back along those shares. Shares and occupancies lie in [0, 1], so nothing
overflows, and what leaves a row of nodes enters the next: occupancies sum to one however long the lattice is.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Moves = Sequence[tuple[int, int]]  # of each sort of arc: symbols and frames it advances by


def transducer_lattice(px: Tensor, py: Tensor, boundary: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return _Transducer.apply(px, py, boundary)


def arc_lattice(arcs: Tensor, moves: Moves, boundary: Tensor) -> Tensor:
    return _Arcs.apply(arcs, moves, boundary)


class _Transducer(torch.autograd.Function):
    @staticmethod
    def forward(ctx, px: Tensor, py: Tensor, boundary: Tensor):
        regular = px.shape[2] > py.shape[2]
        arcs = px.new_full((2, len(px), py.shape[1], py.shape[2] + 1), -torch.inf)
        of_px, of_py = arcs[0, :, : px.shape[1], : px.shape[2]], arcs[1, :, :, : py.shape[2]]
        of_px.copy_(px)
        of_py.copy_(py)
        score, occupancy = path_sum(arcs, [(1, 0 if regular else 1), (0, 1)], boundary)
        of_px, of_py = occupancy[0, :, : px.shape[1], : px.shape[2]], occupancy[1, :, :, : py.shape[2]]
        ctx.save_for_backward(of_px, of_py)
        ctx.mark_non_differentiable(of_px, of_py)
        return score, of_px, of_py

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor, *_):
        of_px, of_py = ctx.saved_tensors
        return of_px * gradient[:, None, None], of_py * gradient[:, None, None], None


class _Arcs(torch.autograd.Function):
    @staticmethod
    def forward(ctx, arcs: Tensor, moves: Moves, boundary: Tensor):
        score, occupancy = path_sum(arcs, moves, boundary)
        ctx.save_for_backward(occupancy)
        return score

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        return ctx.saved_tensors[0] * gradient[:, None, None], None, None


def path_sum(arcs: Tensor, moves: Moves, boundary: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (B,), −inf where no path leads to the last node, and occupancies (K, B, S+1, T+1) of arcs (K, B, S+1, T+1); no
    autograd. Sums are float64 whatever the input: a float32 score of 10⁴ has no digits left for the ratio of two paths.
    """
    sorts, batch, symbols, frames = arcs.shape
    # Nodes are taken level by level: by frame, or by anti-diagonal where an arc may stay within its frame.
    skew = int(any(dt == 0 for _, dt in moves))
    steps = [dt + skew * ds for ds, dt in moves]
    levels = frames + skew * (symbols - 1)
    device = arcs.device
    s = torch.arange(symbols, device=device)
    t = torch.arange(levels, device=device)[:, None] - skew * s  # (levels, S+1): the frame of node s on each level
    first_s, first_t, last_s, last_t = boundary[:, :, None].unbind(1)  # (B, 1) each

    # What enters each node: its arcs, and 1 at the first node. (levels, K + 1, B, S+1)
    terms = arcs.new_full((levels, sorts + 1, batch, symbols), -torch.inf, dtype=torch.float64)
    until = (s <= last_s) & (t[:, None] <= last_t)
    for k, (ds, dt) in enumerate(moves):
        source_s, source_t = s - ds, t - dt
        valid = until & (source_s >= first_s) & (source_t[:, None] >= first_t)
        into = arcs[k][:, source_s.clamp(min=0), source_t.clamp(0, frames - 1)].transpose(0, 1)
        terms[:, k] = torch.where(valid, into.double(), -torch.inf)
    first_level, last_level = first_t + skew * first_s, last_t + skew * last_s
    row = torch.arange(batch, device=device)
    terms[first_level[:, 0], sorts, row, first_s[:, 0]] = 0

    # Levels and symbols before the first are padding, so that an arc's source is always there.
    margin, pad = max(steps), max(ds for ds, _ in moves)
    alpha = terms.new_full((margin + levels, batch, pad + symbols), -torch.inf)
    sources = [slice(pad - ds, pad - ds + symbols) for ds, _ in moves]
    rows, inner = alpha.unbind(0), alpha[margin:, :, pad:]
    for level, (term, total) in enumerate(zip(terms.unbind(0), inner.unbind(0), strict=True), margin):
        for arc, step, source in zip(term.unbind(0), steps, sources, strict=False):
            arc += rows[level - step][:, source]
        torch.logsumexp(term, 0, out=total)
    score = inner[last_level[:, 0], row, last_s[:, 0]]

    reached = inner != -torch.inf
    shares = (terms - inner[:, None]).exp_().masked_fill_(~reached[:, None], 0)[:, :sorts]
    gamma = torch.zeros_like(alpha)
    gamma[margin + last_level[:, 0], row, pad + last_s[:, 0]] = (score != -torch.inf).to(gamma.dtype)
    rows, inner = gamma.unbind(0), gamma[margin:, :, pad:].unbind(0)
    for level in range(levels - 1, -1, -1):
        flow = shares[level].mul_(inner[level])
        for arc, step, source in zip(flow.unbind(0), steps, sources, strict=True):
            rows[margin + level - step][:, source] += arc

    occupancy = torch.zeros_like(arcs)
    frame = torch.arange(frames, device=device)
    for k, (ds, dt) in enumerate(moves):
        target_s, target_t = s[ds:], frame[dt:]
        flow = shares[:, k][target_t + skew * target_s[:, None], :, target_s[:, None]]
        occupancy[k, :, : len(target_s), : len(target_t)] = flow.permute(2, 0, 1)
    return score.to(arcs.dtype), occupancy
