"""Greedy CTC: against collapsing by hand, and the laws on tokens for any split, padding and order of rows."""

import random

import pytest
import torch

from audiorec.search import CtcGreedySearch
from audiorec.streaming import leaves, take

SEARCH = CtcGreedySearch(lambda x: x)


def collapse(scores: torch.Tensor) -> tuple[list[int], list[int]]:
    ids, frames, last = [], [], 0
    for t, symbol in enumerate(scores.argmax(-1).tolist()):
        if symbol not in (0, last):
            ids.append(symbol)
            frames.append(t)
        last = symbol
    return ids, frames


@pytest.mark.parametrize("seed", range(5))
def test_any_split_gives_the_tokens_of_the_whole(seed):
    torch.manual_seed(seed)
    random.seed(seed)
    x = torch.randn(4, 60, 4).log_softmax(-1)
    lengths = torch.tensor([60, 41, 1, 0])
    state, given, at = SEARCH.initial_state(4), [([], []) for _ in lengths], torch.zeros(4, dtype=torch.int64)
    while (at < lengths).any():
        n = torch.minimum(torch.randint(0, 9, (4,)), lengths - at)
        size = int(n.max()) + random.randint(0, 2)
        piece = torch.full((4, size, 4), torch.nan)
        for row in range(4):
            piece[row, : n[row]] = x[row, at[row] : at[row] + n[row]]
        before = state
        tokens, state = SEARCH.step(piece, n, state)
        at += n
        for row in range(4):
            ids, frames = tokens.row(row)
            given[row][0].extend(ids)
            given[row][1].extend(frames)
            if n[row] == 0:
                kept = zip(leaves(take(before, [row])), leaves(take(state, [row])), strict=True)
                assert all(torch.equal(a[1], b[1]) for a, b in kept)
    assert given == [collapse(row[:n]) for row, n in zip(x, lengths.tolist(), strict=True)]
    best = x.topk(2, -1).values
    assert state["margin"][0] == (best[0, :, 0] - best[0, :, 1]).min() and state["margin"][3] == torch.inf


def test_repeats_need_a_blank_between_also_across_pieces():
    one, blank = torch.tensor([[[0.0, 9.0]]]), torch.tensor([[[9.0, 0.0]]])
    state, ids, n = SEARCH.initial_state(1), [], torch.tensor([1])
    for frame in (one, one, blank, one, one):
        tokens, state = SEARCH.step(frame, n, state)
        ids += tokens.row(0)[0]
    assert ids == [1, 1] and SEARCH.flush(state).row(0) == SEARCH.partial(state).row(0) == ([], [])
