"""The law: what you measure offline is what you get live. State trees, streaming modules, and chains of them."""

from audiorec.streaming.chain import Parallel, Residual, Sequential
from audiorec.streaming.module import Pointwise, StreamingModule, share
from audiorec.streaming.ragged import Carry, append, last_frames, mask, mask_finite, valid, window
from audiorec.streaming.state import State, batch_size, leaves, map_state, put, stack, state_bytes, take, unstack
from audiorec.streaming.whole import as_ragged

__all__ = [
    "Carry",
    "Parallel",
    "Pointwise",
    "Residual",
    "Sequential",
    "State",
    "StreamingModule",
    "append",
    "as_ragged",
    "batch_size",
    "last_frames",
    "leaves",
    "map_state",
    "mask",
    "mask_finite",
    "put",
    "share",
    "stack",
    "state_bytes",
    "take",
    "unstack",
    "valid",
    "window",
]
