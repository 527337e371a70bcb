"""State trees: nested dicts of tensors with the batch on axis 0 of every leaf, and the few maps that every user of them needs."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

State = dict[str, Any]  # of tensors and of States


def map_state(function: Callable[..., Tensor], *states: State) -> State:
    """A tree of ``function`` applied to the leaves of equal trees."""
    first = states[0]
    for other in states[1:]:
        if other.keys() != first.keys():
            raise ValueError(f"states of different modules: leaves {sorted(first)} and {sorted(other)}")
    return {
        key: map_state(function, *(s[key] for s in states))
        if isinstance(first[key], dict)
        else function(*(s[key] for s in states))
        for key in first
    }


def leaves(state: State, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """(dotted name, tensor) of every leaf, in order."""
    for key, value in state.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def batch_size(state: State) -> int:
    """Rows in the state; 0 where a stateless module's tree has no leaf to tell it."""
    return next((leaf.shape[0] for _, leaf in leaves(state)), 0)


def state_bytes(state: State) -> int:
    """Bytes that one row keeps between steps."""
    return sum(leaf[:1].numel() * leaf.element_size() for _, leaf in leaves(state))


def stack(states: Sequence[State]) -> State:
    """States, of one or more rows each, as one state with all their rows in order."""
    return map_state(lambda *rows: torch.cat(rows), *states)


def unstack(state: State) -> list[State]:
    """The rows of a state, each a state of batch size 1."""
    return [take(state, [row]) for row in range(batch_size(state))]


def take(state: State, rows: Sequence[int] | Tensor) -> State:
    """The state of these rows, in this order (they may repeat)."""

    def pick(leaf: Tensor) -> Tensor:
        return leaf.index_select(0, torch.as_tensor(rows, dtype=torch.int64, device=leaf.device))

    return map_state(pick, state)


def put(state: State, rows: Sequence[int] | Tensor, part: State) -> State:
    """A copy of ``state`` whose ``rows`` are those of ``part``; every other row is kept bit for bit."""

    def place(leaf: Tensor, new: Tensor) -> Tensor:
        return leaf.index_copy(0, torch.as_tensor(rows, dtype=torch.int64, device=leaf.device), new)

    return map_state(place, state, part)
