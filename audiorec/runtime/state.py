"""States in numpy: flat dicts of arrays, batch on axis 0 of each, and the two maps that their users need."""

from collections.abc import Sequence

import numpy as np

State = dict[str, np.ndarray]


def take(state: State, rows: Sequence[int] | np.ndarray) -> State:
    """The state of these rows, in this order (they may repeat)."""
    return {name: array[rows] for name, array in state.items()}


def put(state: State, rows: Sequence[int] | np.ndarray, part: State) -> State:
    """A copy of ``state`` whose ``rows`` are those of ``part``."""
    copy = {name: array.copy() for name, array in state.items()}
    store(copy, rows, part)
    return copy


def store(state: State, rows: Sequence[int] | np.ndarray, part: State) -> None:
    """Write ``part`` into these rows of ``state``, in place."""
    for name, array in state.items():
        array[rows] = part[name]


def repeat(state: State, rows: int) -> State:
    """A state of one row as one of so many."""
    return {name: np.repeat(array, rows, 0) for name, array in state.items()}
