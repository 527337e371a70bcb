"""The state of whole rows as one of ragged rows: how a live stream that stepped without lengths ends where it likes."""

import torch
import torch.nn.functional as F
from torch import Tensor

from audiorec.streaming.state import State


def as_ragged(state: State, ragged: State) -> State:
    """``state`` of whole rows, after ``first_feed`` or any period after it, as one of ragged rows: it takes lengths.

    ``ragged`` is any ragged state of the same module and batch: it tells the structure and the sizes. What waits is filled up
    with zeros to its capacity, beside its ``length``; every row has begun.
    """
    new: State = {}
    for key, leaf in ragged.items():
        # Queries that wait for their look-ahead stand at the end of their place, all else at its beginning.
        ahead = key == "ahead" and "held" in state
        own = state.get("held" if ahead else key)
        if isinstance(leaf, dict):
            new[key] = as_ragged(state[key], leaf)
        elif own is None:  # the number of frames that wait, or whether the row has begun
            new[key] = torch.full_like(leaf, state["frames"].shape[1] if key == "length" else True)
        else:
            new[key] = _filled(own, leaf.shape[1] - own.shape[1], ahead) if own.ndim > 1 else own
    return new


def _filled(x: Tensor, missing: int, before: bool) -> Tensor:
    """``x`` (B, N, …) with so many zeros before or after its N."""
    if not missing:
        return x
    return F.pad(x, (0, 0) * (x.ndim - 2) + ((missing, 0) if before else (0, missing)))
