"""Rows of one length or of many in one tensor: masks, windows at a row's end, and ``Carry``, which keeps what must wait.

Everything here is (B, T, C). ``lengths`` (B,) counts each row's valid frames; None means that all rows are whole, and then
nothing is masked, gathered or counted. All of it passes torch.export.
"""

import torch
from torch import Tensor

from audiorec.streaming.state import State


def valid(lengths: Tensor, size: int) -> Tensor:
    """(B, size) bool: true at the frames that belong to their row."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def mask(x: Tensor, lengths: Tensor | None) -> Tensor:
    """``x`` (B, T, C) with zeros past each row's length; the values there, NaN too, reach neither value nor gradient."""
    return x if lengths is None else x.masked_fill(~valid(lengths, x.shape[1])[..., None], 0)


def mask_finite(x: Tensor, lengths: Tensor | None) -> Tensor:
    """As ``mask`` for a module's own output, which holds no NaN past the length: a product, several times as fast."""
    return x if lengths is None else x * valid(lengths, x.shape[1])[..., None]


def window(x: Tensor, start: Tensor, size: int) -> Tensor:
    """(B, size, C): frames ``start[b]`` to ``start[b] + size`` of each row; zeros beyond the end of ``x``."""
    index = start[:, None] + torch.arange(size, device=x.device)
    frames = x.gather(1, index.clamp(max=x.shape[1] - 1)[..., None].expand(-1, -1, x.shape[2]))
    return mask(frames, x.shape[1] - start)


def last_frames(x: Tensor, lengths: Tensor | None, size: int) -> Tensor:
    """(B, size, C): the ``size`` frames before each row's end, where ``x`` holds ``size`` frames of left context and then
    the row's ``lengths[b]``."""
    return x[:, x.shape[1] - size :] if lengths is None else window(x, lengths, size)


def append(
    a: Tensor, a_lengths: Tensor | None, b: Tensor, b_lengths: Tensor | None, size: int | None = None
) -> tuple[Tensor, Tensor | None]:
    """Each row's valid frames of ``a`` followed by those of ``b``: (B, size, C), zeros past the end, and their lengths.

    ``size`` is the sum of both time sizes unless the caller knows that no row needs so much. Whole rows have no lengths.
    """
    if b.shape[1] == 0:
        return (a if size is None else a[:, :size]), a_lengths
    if a.shape[1] == 0:
        return (b if size is None else b[:, :size]), b_lengths
    both = torch.cat([a, b.to(a.dtype)], 1)
    if a_lengths is None or b_lengths is None:
        return both, None
    time = torch.arange(a.shape[1] + b.shape[1] if size is None else size, device=a.device)
    index = torch.where(time < a_lengths[:, None], time, time - a_lengths[:, None] + a.shape[1])
    frames = both.gather(1, index.clamp(max=both.shape[1] - 1)[..., None].expand(-1, -1, both.shape[2]))
    lengths = a_lengths + b_lengths
    return mask(frames, lengths), lengths


class Carry:
    """Keeps up to ``capacity`` frames of each row from one step to the next. All buffering of frames is done by this.

    State: ``frames``, the frames that wait. Of whole rows it is (B, N, dim), N frames in every row. Of ragged rows it is
    (B, capacity, dim), with ``length`` (B,), the number of a row's frames.
    """

    def __init__(self, capacity: int, dim: int):
        self.capacity = capacity
        self.dim = dim

    def initial_state(self, batch_size: int, like: Tensor, ragged: bool) -> State:
        if not ragged:
            return {"frames": like.new_zeros(batch_size, 0, self.dim)}
        return {
            "frames": like.new_zeros(batch_size, self.capacity, self.dim),
            "length": like.new_zeros(batch_size, dtype=torch.int64),
        }

    def join(self, state: State, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The frames that waited, then ``x``: (B, waited + T, dim) in ``x``'s dtype, and their lengths."""
        frames = state["frames"].to(x.dtype)
        return append(frames, None if lengths is None else state["length"], x, lengths)

    def rest(self, state: State, like: Tensor) -> tuple[Tensor, Tensor | None]:
        """The frames that wait, alone, in the dtype of ``like``, and their lengths."""
        return state["frames"].to(like.dtype), state.get("length")

    def keep(self, state: State, frames: Tensor, start: Tensor | int, lengths: Tensor | None) -> State:
        """The next state: of whole rows the frames from ``start`` on, of ragged ones each row's from ``start[b]`` to
        ``lengths[b]``, at most ``capacity`` of them."""
        if lengths is None or isinstance(start, int):
            return {"frames": frames[:, start:].to(state["frames"].dtype)}
        kept = mask(window(frames, start, self.capacity), lengths - start)
        return {"frames": kept.to(state["frames"].dtype), "length": lengths - start}
