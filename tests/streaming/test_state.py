"""State trees: rows in, rows out, bit for bit."""

import pytest
import torch

from audiorec.streaming import batch_size, leaves, map_state, put, stack, state_bytes, take, unstack


def tree(rows: int) -> dict:
    return {"a": torch.randn(rows, 3), "inner": {"n": torch.randint(0, 9, (rows,)), "on": torch.rand(rows, 1) > 0.5}}


def same(a: dict, b: dict) -> bool:
    return all(x[0] == y[0] and torch.equal(x[1], y[1]) for x, y in zip(leaves(a), leaves(b), strict=True))


def test_stack_and_unstack_are_inverse():
    state = tree(5)
    assert same(stack(unstack(state)), state)
    assert same(stack([take(state, [0, 1]), take(state, [2, 3, 4])]), state)
    assert batch_size(state) == 5 and batch_size({}) == 0


def test_put_replaces_its_rows_and_no_other():
    state, part = tree(5), tree(2)
    new = put(state, [3, 0], part)
    assert same(take(new, [3, 0]), part)
    assert same(take(new, torch.tensor([1, 2, 4])), take(state, [1, 2, 4]))


def test_states_of_different_modules_do_not_mix():
    with pytest.raises(ValueError, match="different modules"):
        stack([tree(1), {"a": torch.zeros(1, 3)}])


def test_state_bytes_are_of_one_row():
    assert state_bytes(tree(5)) == state_bytes(tree(1)) == 3 * 4 + 8 + 1
    assert same(map_state(lambda leaf: leaf, tree(0)), tree(0))
