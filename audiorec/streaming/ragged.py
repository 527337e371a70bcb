"""Rows of different lengths in one tensor: masks, per-row windows, appending, and ``Carry``, which keeps what must wait.

Everything here is (B, T, C) with ``lengths`` (B,), does the same for any values of ``lengths`` and passes torch.export.
"""

import torch
from torch import Tensor

from audiorec.streaming.state import State


def valid(lengths: Tensor, size: int) -> Tensor:
    """(B, size) bool: true at the frames that belong to their row."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def mask(x: Tensor, lengths: Tensor) -> Tensor:
    """``x`` (B, T, C) with zeros past each row's length; what stood there, NaN too, reaches neither value nor gradient."""
    return x.masked_fill(~valid(lengths, x.shape[1])[..., None], 0)


def mask_finite(x: Tensor, lengths: Tensor) -> Tensor:
    """As ``mask`` for a module's own output, which holds no NaN past the length: a product, several times as fast."""
    return x * valid(lengths, x.shape[1])[..., None]


def window(x: Tensor, start: Tensor, size: int) -> Tensor:
    """(B, size, C): frames ``start[b]`` to ``start[b] + size`` of each row; zeros beyond the end of ``x``."""
    index = start[:, None] + torch.arange(size, device=x.device)
    frames = x.gather(1, index.clamp(max=x.shape[1] - 1)[..., None].expand(-1, -1, x.shape[2]))
    return mask(frames, x.shape[1] - start)


def append(
    a: Tensor, a_lengths: Tensor, b: Tensor, b_lengths: Tensor, size: int | None = None
) -> tuple[Tensor, Tensor]:
    """Each row's valid frames of ``a`` followed by those of ``b``: (B, size, C), zeros past the end, and their lengths.

    ``size`` is the sum of both time sizes unless the caller knows that no row needs so much.
    """
    if b.shape[1] == 0:
        return (a if size is None else a[:, :size]), a_lengths
    if a.shape[1] == 0:
        return (b if size is None else b[:, :size]), b_lengths
    time = torch.arange(a.shape[1] + b.shape[1] if size is None else size, device=a.device)
    both = torch.cat([a, b.to(a.dtype)], 1)
    index = torch.where(time < a_lengths[:, None], time, time - a_lengths[:, None] + a.shape[1])
    frames = both.gather(1, index.clamp(max=both.shape[1] - 1)[..., None].expand(-1, -1, both.shape[2]))
    lengths = a_lengths + b_lengths
    return mask(frames, lengths), lengths


class Carry:
    """Keeps up to ``capacity`` frames of each row from one step to the next. All buffering of frames is done by this.

    State: ``frames`` (B, capacity, dim) and ``length`` (B,), the number of frames that are really kept.
    """

    def __init__(self, capacity: int, dim: int):
        self.capacity = capacity
        self.dim = dim

    def initial_state(self, batch_size: int, like: Tensor) -> State:
        return {
            "frames": like.new_zeros(batch_size, self.capacity, self.dim),
            "length": like.new_zeros(batch_size, dtype=torch.int64),
        }

    def join(self, state: State, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """What was kept, then ``x``: (B, capacity + T, dim) in ``x``'s dtype, and their lengths.

        Raises ValueError where another carry kept it.
        """
        if state["frames"].shape[1:] != (self.capacity, self.dim):
            raise ValueError(
                f"Carry: the state keeps {tuple(state['frames'].shape[1:])} frames and channels, here {self.capacity} of "
                f"{self.dim} wait: it is another model's, or of another latency"
            )
        return append(state["frames"].to(x.dtype), state["length"], x, lengths)

    def rest(self, state: State, like: Tensor) -> tuple[Tensor, Tensor]:
        """What was kept, alone: (B, capacity, dim) in the dtype of ``like``, and the lengths."""
        return state["frames"].to(like.dtype), state["length"]

    def keep(self, state: State, frames: Tensor, start: Tensor, lengths: Tensor) -> State:
        """The next state: each row's frames from ``start[b]`` to ``lengths[b]``, at most ``capacity`` of them."""
        kept = mask(window(frames, start, self.capacity), lengths - start)
        return {"frames": kept.to(state["frames"].dtype), "length": lengths - start}
