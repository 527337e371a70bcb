"""The laws of streaming on tokens, for every search: any split, any padding, rows that come, go and move.

Committed tokens and what flush adds are those of the whole, each at its frame; only when they come may differ.
"""

import random

import pytest
import torch
from torch import Tensor

from audiorec.streaming import leaves, map_state, put, take
from tests.search.searches import DIM, SEARCHES

LENGTHS = [60, 41, 33, 8, 1, 0]
SEATS = 3


def utterances() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [2 * torch.randn(length, DIM, generator=generator) for length in LENGTHS]


def batch(rows: list[Tensor], size: int) -> tuple[Tensor, Tensor]:
    """Rows side by side, NaN past their ends."""
    x = torch.full((len(rows), size, DIM), torch.nan)
    for i, row in enumerate(rows):
        x[i, : len(row)] = row
    return x, torch.tensor([len(row) for row in rows])


def whole(search, rows: list[Tensor]) -> tuple[list, Tensor]:
    """(ids, frames) of each row, decoded in one step and a flush, and the margins."""
    tokens, state = search.step(*batch(rows, max(map(len, rows))), search.initial_state(len(rows)))
    rest = search.flush(state)
    return [joined(tokens.row(i), rest.row(i)) for i in range(len(rows))], state["margin"]


def joined(a: tuple[list, list], b: tuple[list, list]) -> tuple[list, list]:
    return a[0] + b[0], a[1] + b[1]


@pytest.mark.parametrize("name", SEARCHES)
def test_a_batch_is_a_stack(name):
    search, rows = SEARCHES[name](), utterances()
    together, margins = whole(search, rows)
    alone = [whole(search, [row]) for row in rows]
    assert together == [tokens for (tokens,), _ in alone]
    torch.testing.assert_close(margins, torch.cat([margin for _, margin in alone]))
    # The case says something: tokens, and frames without any.
    assert len(together[0][0]) > 5 and len(set(together[0][1])) < 55 and together[-1] == ([], [])


@pytest.mark.parametrize("name", SEARCHES)
def test_the_state_stays_float32_under_autocast(name):
    search, rows = SEARCHES[name](), utterances()
    kinds = [(leaf_name, leaf.dtype) for leaf_name, leaf in leaves(search.initial_state(len(rows)))]
    with torch.autocast("cpu", torch.bfloat16):
        before = search.initial_state(len(rows))
        _, after = search.step(*batch(rows, max(LENGTHS)), before)
    for state in (before, after):
        assert [(leaf_name, leaf.dtype) for leaf_name, leaf in leaves(state)] == kinds


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", SEARCHES)
def test_any_split_gives_the_tokens_of_the_whole(name, seed):
    search, rows, draw = SEARCHES[name](), utterances(), random.Random(seed)
    expected, _ = whole(search, rows)
    heard = [([], []) for _ in rows]
    at = [0] * len(rows)
    waiting, seats = list(range(len(rows))), [None] * SEATS
    state = search.initial_state(SEATS)
    signature = [(leaf_name, leaf.shape, leaf.dtype) for leaf_name, leaf in leaves(state)]
    while waiting or any(seat is not None for seat in seats):
        for i, seat in enumerate(seats):
            if seat is None and waiting and draw.random() < 0.7:
                seats[i] = waiting.pop(0)
                state = put(state, [i], search.initial_state(1))
        order = draw.sample(range(SEATS), SEATS)
        seats, state = [seats[i] for i in order], take(state, order)
        size = draw.choice([0, 1, 2, 3, 9])
        counts = [0 if seat is None else min(draw.randint(0, size), LENGTHS[seat] - at[seat]) for seat in seats]
        pieces = [
            torch.zeros(0, DIM) if seat is None else rows[seat][at[seat] : at[seat] + count]
            for seat, count in zip(seats, counts, strict=True)
        ]
        before, copy = state, map_state(torch.clone, state)
        tokens, state = search.step(*batch(pieces, size), before)
        assert [(n, leaf.shape, leaf.dtype) for n, leaf in leaves(state)] == signature, "the state's shape changed"
        for (leaf_name, old), (_, kept), (_, new) in zip(leaves(copy), leaves(before), leaves(state), strict=True):
            assert torch.equal(old, kept), f"step wrote into the {leaf_name} it was given"
            for i, count in enumerate(counts):
                assert count or torch.equal(old[i], new[i]), f"a row of length 0 changed its {leaf_name}"
        for i, seat in enumerate(seats):
            if seat is None:
                continue
            heard[seat] = joined(heard[seat], tokens.row(i))
            at[seat] += counts[i]
            said = joined(heard[seat], search.partial(take(state, [i])).row(0))
            assert len(said[0]) == len(said[1]) and all(frame < at[seat] for frame in said[1])
            if at[seat] == LENGTHS[seat]:
                heard[seat] = joined(heard[seat], search.flush(take(state, [i])).row(0))
                seats[i] = None
    assert heard == expected
