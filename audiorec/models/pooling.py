"""``RunningMean``: the mean over time, known to a stream at every frame."""

import torch
from torch import Tensor

from audiorec.streaming import State, StreamingModule, mask, mask_finite


class RunningMean(StreamingModule):
    """Frame t becomes the mean of frames 0 to t: (B, T, dim) → (B, T, dim).

    State: ``sum`` (B, dim) and ``count`` (B, 1) of the row's frames, both float32; ``mean`` reads it.
    """

    def __init__(self, dim: int):
        super().__init__(dim, dim)

    def initial_state(self, batch_size: int, ragged: bool = False) -> State:
        return {"sum": self.zeros(batch_size, self.input_dim), "count": self.zeros(batch_size, 1)}

    def advance(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, Tensor | None, State]:
        sums = state["sum"][:, None] + mask(x, lengths).to(state["sum"].dtype).cumsum(1)
        counts = state["count"] + torch.arange(1, x.shape[1] + 1, device=x.device)
        y = mask_finite(sums / counts[..., None], lengths).to(x.dtype)
        return (
            y,
            lengths,
            {"sum": sums[:, -1], "count": state["count"] + (x.shape[1] if lengths is None else lengths[:, None])},
        )

    @staticmethod
    def mean(state: State) -> Tensor:
        """(B, dim): the mean of each row so far, zero before its first frame."""
        return state["sum"] / state["count"].clamp(min=1)
