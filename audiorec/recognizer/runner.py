"""``Runner``: the device's part of live streams, model and search. Their states lie in slots and are updated in place."""

from collections.abc import Sequence

import numpy as np
import torch
from audiorec_kernels.precision import full_precision
from torch import Tensor

from audiorec.errors import UserError
from audiorec.search import Decoded, Hypothesis, Search, conclude
from audiorec.streaming import State, StreamingModule, map_state, state_bytes, take


class Runner:
    """Steps the streams of up to ``slots`` slots, any of them in one batch. To be used by one thread at a time.

    A stream takes a slot by ``begin`` and gives it back by ``finish`` or ``free``. All streams are of whole rows: the first
    samples are ``model.first_feed`` and any number of periods, all later ones whole periods, and only the last are any number.
    So every slot's state has the same shapes, and those that step need no padding.
    """

    def __init__(self, model: StreamingModule, search: Search, slots: int, device: torch.device | str = "cpu"):
        self.model = model
        self.search = search
        self.slots = slots
        self.device = torch.device(device)
        self._free = list(reversed(range(slots)))
        self._state: State | None = None  # its shapes are those of the first stream that begins

    @property
    def state_bytes(self) -> int:
        """Bytes of all slots; 0 before the first stream began."""
        return 0 if self._state is None else self.slots * state_bytes(self._state)

    @torch.inference_mode()
    def begin(self, samples: np.ndarray) -> tuple[list[int], list[Hypothesis]]:
        """Slots for N new streams, and the tokens that their first samples (N, first_feed + k · period) commit.

        Raises UserError where fewer than N slots are free.
        """
        if len(samples) > len(self._free):
            raise UserError(
                f"runner: {len(samples)} streams begin, and {len(self._free)} of {self.slots} slots are free"
            )
        hypotheses, state = self._advance(samples, self._initial(len(samples)))
        slots = [self._free.pop() for _ in samples]
        self._store(slots, state)
        return slots, hypotheses

    @torch.inference_mode()
    def step(self, slots: Sequence[int], samples: np.ndarray) -> list[Hypothesis]:
        """The tokens that the next samples (N, k · period) of these N slots commit."""
        hypotheses, state = self._advance(samples, self._load(slots))
        self._store(slots, state)
        return hypotheses

    @torch.inference_mode()
    def partial(self, slot: int) -> tuple[Hypothesis, float]:
        """The slot's tokens that are not committed yet, and the margin so far."""
        state = self._load([slot])["search"]
        return self.search.partial(state).hypothesis(0), float(state["margin"][0])

    @torch.inference_mode()
    def finish(self, slot: int | None, rest: np.ndarray, committed: Hypothesis) -> Decoded:
        """End a stream with its last samples (T,), any number, after the tokens ``committed``; its slot is free.

        ``slot`` None: of a stream that never began, for it is shorter than its first feed.
        """
        state = self._initial(1) if slot is None else self._load([slot])
        if len(rest):
            (tokens,), state = self._advance(rest[None], state)
            committed = committed + tokens
        with full_precision(state["search"]["margin"]):
            (tokens,), searched = self._search(self.model.flush(state["model"])[0], state["search"], 1)
            (decoded,) = conclude(self.search, searched, [committed + tokens])
        if slot is not None:
            self.free(slot)
        return decoded

    def free(self, slot: int) -> None:
        """The stream of this slot is over: another may take it."""
        self._free.append(slot)

    def _initial(self, streams: int) -> State:
        return {
            "model": self.model.initial_state(streams),
            "search": self.search.initial_state(streams, self.device),
        }

    def _advance(self, samples: np.ndarray, state: State) -> tuple[list[Hypothesis], State]:
        x = torch.from_numpy(samples).to(self.device)[..., None]
        with full_precision(x):
            x, _, model = self.model.step(x, None, state["model"])
            hypotheses, search = self._search(x, state["search"], len(samples))
        return hypotheses, {"model": model, "search": search}

    def _search(self, x: Tensor, state: State, streams: int) -> tuple[list[Hypothesis], State]:
        if x.shape[1] == 0:
            return [Hypothesis() for _ in range(streams)], state
        tokens, state = self.search.step(x, None, state)
        counts = tokens.lengths.tolist()
        return [tokens.hypothesis(row) if count else Hypothesis() for row, count in enumerate(counts)], state

    def _load(self, slots: Sequence[int]) -> State:
        assert self._state is not None  # a stream has begun
        return self._state if self.slots == 1 else take(self._state, slots)

    def _store(self, slots: Sequence[int], state: State) -> None:
        if self.slots == 1:
            self._state = state
            return
        if self._state is None:
            self._state = map_state(lambda leaf: leaf.new_zeros(self.slots, *leaf.shape[1:]), state)
        rows = torch.tensor(slots, device=self.device)
        map_state(lambda leaf, new: leaf.index_copy_(0, rows, new), self._state, state)
