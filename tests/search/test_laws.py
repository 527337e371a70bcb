"""The laws of streaming on tokens, for every search: any split, any padding, rows that come, go and move.

Committed tokens and what flush adds are those of the whole, each at its frame; only when they come may differ.
"""

import random
from functools import reduce

import pytest
import torch
from audiorec_kernels import backend
from audiorec_kernels.native import ABSENT, LIBRARY
from torch import Tensor

from audiorec.streaming import State, leaves, map_state, put, take
from tests.search.searches import DIM, OWNERS, SEARCHES, sets

pytestmark = pytest.mark.usefixtures("form")

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


def said_by(tokens, row: int) -> tuple[list, list]:
    """(ids, frames) of a row; in a search of words each id is beside the word that ends with it."""
    ids, frames = tokens.row(row)
    words = tokens.hypothesis(row).words
    return list(zip(ids, words, strict=True)) if words else ids, frames


def whole(search, rows: list[Tensor]) -> tuple[list, Tensor]:
    """(ids, frames) of each row, decoded in one step and a flush, and the margins."""
    tokens, state = search.step(*batch(rows, max(map(len, rows))), search.initial_state(len(rows)))
    rest = search.flush(state)
    return [joined(said_by(tokens, i), said_by(rest, i)) for i in range(len(rows))], state["margin"]


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


def live(search, rows: list[Tensor], draw: random.Random, sets: list | None = None) -> list[tuple[list, list]]:
    """(ids, frames) of rows that join, move and leave ``SEATS`` seats in steps of random sizes, each with its set of automata."""
    heard = [([], []) for _ in rows]
    at, owners = [0] * len(rows), [0] * len(rows)
    waiting, seats = list(range(len(rows))), [None] * SEATS
    state = search.initial_state(SEATS)
    signature = [(leaf_name, leaf.shape, leaf.dtype) for leaf_name, leaf in leaves(state)]
    while waiting or any(seat is not None for seat in seats):
        for i, seat in enumerate(seats):
            if seat is None and waiting and draw.random() < 0.7:
                seats[i] = seat = waiting.pop(0)
                owners[seat] = search.add(sets[seat]) if sets else 0
                state = put(state, [i], search.initial_state(1, owner=owners[seat]))
        order = draw.sample(range(SEATS), SEATS)
        seats, state = [seats[i] for i in order], take(state, order)
        size = draw.choice([0, 1, 2, 3, 9])
        counts = [0 if seat is None else min(draw.randint(0, size), len(rows[seat]) - at[seat]) for seat in seats]
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
            heard[seat] = joined(heard[seat], said_by(tokens, i))
            at[seat] += counts[i]
            said = joined(heard[seat], said_by(search.partial(take(state, [i])), 0))
            assert len(said[0]) == len(said[1]) and all(frame < at[seat] for frame in said[1])
            if at[seat] == len(rows[seat]):
                heard[seat] = joined(heard[seat], said_by(search.flush(take(state, [i])), 0))
                seats[i] = None
                if sets:  # the state of the empty seat still names them
                    search.remove(owners[seat])
    return heard


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", SEARCHES)
def test_any_split_gives_the_tokens_of_the_whole(name, seed):
    search, rows = SEARCHES[name](), utterances()
    expected, _ = whole(search, rows)
    assert live(search, rows, random.Random(seed)) == expected


class Turns:
    """A search whose steps the two forms of its inner loop take in turn."""

    def __init__(self, search, draw: random.Random):
        self.search, self.draw = search, draw

    def step(self, *arguments):
        with backend(self.draw.choice(["native", "reference"])):
            return self.search.step(*arguments)

    def __getattr__(self, name: str):
        return getattr(self.search, name)


@pytest.mark.skipif(LIBRARY is None, reason=ABSENT)
@pytest.mark.parametrize("name", [name for name in SEARCHES if "beam" in name and "fused" not in name])
def test_the_forms_may_take_turns_in_a_stream(name):
    search, rows, draw = SEARCHES[name](), utterances(), random.Random(7)
    expected, _ = whole(search, rows)
    assert live(Turns(search, draw), rows, draw) == expected


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("base", [0, 1], ids=["none for all", "an n-gram and hotwords for all"])
@pytest.mark.parametrize("name", OWNERS)
def test_a_row_with_automata_of_its_own_is_that_row_alone_in_a_search_with_them(name, base, seed):
    make, symbols = OWNERS[name]
    brought, draw = sets(symbols), random.Random(seed)
    cases = [(row, automata) for row in utterances()[:3] for automata in brought]
    draw.shuffle(cases)
    rows, automata = [row for row, _ in cases], [one for _, one in cases]
    expected = [whole(make(automata=one), [row])[0][0] for row, one in cases]
    search = make(automata=brought[base], columns=2)
    assert live(search, rows, draw, automata) == expected
    assert len({str(tokens) for tokens in expected}) > 9  # the automata tell
    assert live(search, rows[:4], draw, [(), *automata[1:4]]) == [whole(make(), rows[:1])[0][0], *expected[1:4]]


@pytest.mark.parametrize("commits", [False, True], ids=["one segment", "two segments"])
@pytest.mark.parametrize("name", OWNERS)
def test_rows_of_one_batch_have_what_each_owner_brought(name, commits):
    make, symbols = OWNERS[name]
    brought, row = sets(symbols), utterances()[0]
    search = make(automata=brought[3], columns=2)
    owners = [0, *(search.add(one) for one in brought)]

    def said(search, state, x) -> tuple[list, State]:
        """What each row commits in two steps, at a boundary between them where there is one, and at the end."""
        tokens, state = search.step(x[:, :25], None, state)
        parts = [tokens]
        if commits:
            tokens, state = search.commit(state)
            parts.append(tokens)
        tokens, state = search.step(x[:, 25:], None, state)
        parts += [tokens, search.flush(state)]
        return [reduce(joined, [said_by(part, i) for part in parts]) for i in range(len(x))], state

    heard, state = said(search, search.initial_state(len(owners), owner=torch.tensor(owners)), row.expand(7, -1, -1))
    for i, automata in enumerate([brought[3], *brought]):
        alone = make(automata=automata)
        expected, end = said(alone, alone.initial_state(1), row[None])
        assert heard[i] == expected[0]
        for found, other in zip(search.hypotheses(state, i), alone.hypotheses(end, 0), strict=True):
            assert found.ids == other.ids and found.frames == other.frames
            assert found.score == pytest.approx(other.score, abs=1e-4)


@pytest.mark.parametrize("name", OWNERS)
def test_automata_that_come_and_go_change_no_state_of_another_row(name):
    make, symbols = OWNERS[name]
    brought, row = sets(symbols), utterances()[0]
    ends = []
    for crowd in (0, 1, 7):
        search, draw = make(automata=brought[3], columns=2), random.Random(0)
        state = search.initial_state(2, owner=torch.tensor([0, search.add(brought[4])]))
        others: list[int] = []
        for piece in row.split(7):
            for _ in range(crowd):
                others.append(search.add(draw.choice(brought)))
            draw.shuffle(others)
            while len(others) > crowd:
                search.remove(others.pop())
            _, state = search.step(piece.expand(2, -1, -1), None, state)
        ends.append([leaf for leaf_name, leaf in leaves(state) if leaf_name != "owner"])
    for other in ends[1:]:
        assert all(torch.equal(a, b) for a, b in zip(ends[0], other, strict=True))
