"""``Runner``: the device's part of live streams, model and search. Their states lie in slots and are updated in place."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import torch
from audiorec_kernels.precision import full_precision
from torch import Tensor

from audiorec.live.slots import Slots
from audiorec.search import Automaton, Search, conclude, search_parts
from audiorec.streaming import State, StreamingModule, map_state, state_bytes, take
from audiorec.transcript import Ending, Endpointer, Hypothesis, Part

Parts = list[list[Part]]  # of each row
Own = Sequence[Sequence[Automaton] | None]  # automata of each row; None: those of the search


class Runner(Slots):
    """Steps the streams of up to ``slots`` slots, any of them in one batch. To be used by one thread at a time.

    A stream takes a slot by ``begin`` and gives it back by ``finish`` or ``free``. All streams are of whole rows: the first
    samples are ``first_feed`` and any number of periods, all later ones whole periods, and only the last are any number.
    So every slot's state has the same shapes, and those that step need no padding. The host's part of a stream is an
    ``Endpointer``, which says at which frame a segment ends; what comes back are the parts of segments.
    """

    def __init__(self, model: StreamingModule, search: Search, slots: int, device: torch.device | str = "cpu"):
        super().__init__(slots, model.first_feed, model.period)
        self.model = model
        self.search = search
        self.device = torch.device(device)
        self._owners: dict[int, int] = {}  # slot → its stream's own automata in the search
        self._state: State | None = None  # its shapes are those of the first stream that begins

    @property
    def revises(self) -> bool:
        """Whether ``partial`` may hold tokens that are not committed."""
        return self.search.revises

    @property
    def state_bytes(self) -> int:
        """Bytes of all slots; 0 before the first stream began."""
        return 0 if self._state is None else self.slots * state_bytes(self._state)

    @torch.inference_mode()
    def begin(self, samples: np.ndarray, rows: Sequence[Endpointer], own: Own) -> tuple[list[int], Parts]:
        """Slots for N new streams, and what their first samples (N, first_feed + k · period) commit.

        ``own`` are the automata of each, for a search with room for them. Raises UserError where fewer than N slots are free.
        """
        self._must_have_room(len(samples))
        owners = self._add(own)
        parts, state = self._advance(samples, self._initial(owners), rows)
        slots = self._take_slots(len(samples))
        self._owners.update(zip(slots, owners, strict=True))
        self._store(slots, state)
        return slots, parts

    @torch.inference_mode()
    def step(self, slots: Sequence[int], samples: np.ndarray, rows: Sequence[Endpointer]) -> Parts:
        """What the next samples (N, k · period) of these N slots commit."""
        parts, state = self._advance(samples, self._load(slots), rows)
        self._store(slots, state)
        return parts

    @torch.inference_mode()
    def partial(self, slot: int) -> Hypothesis:
        """The slot's tokens that are not committed yet."""
        return self.search.partial(self._load([slot])["search"]).hypothesis(0)

    @torch.inference_mode()
    def commit(self, slot: int, row: Endpointer) -> list[Part]:
        """End the slot's segment at its last frame; the stream goes on."""
        state = self._load([slot])
        tokens, search = self.search.commit(state["search"])
        self._store([slot], {**state, "search": search})
        return row.end(tokens.hypothesis(0))

    @torch.inference_mode()
    def finish(
        self, slots: Sequence[int | None], rests: Sequence[np.ndarray], rows: Sequence[Endpointer], own: Own
    ) -> tuple[Parts, list[Ending]]:
        """End N streams with the last samples (T,) of each, any number: what these commit, and how it may go on from there to
        the end. Their slots are free.

        A slot of None is that of a stream that never began, for it is shorter than its first feed. ``own`` as they were given,
        or are now, to ``begin``. Streams whose rests are as long as one another's end in one batch.
        """

        def sort(i: int) -> tuple[bool, int]:
            return slots[i] is None, len(rests[i])

        parts: Parts = [[] for _ in slots]
        endings: dict[int, Ending] = {}
        for _, group in groupby(sorted(range(len(slots)), key=sort), sort):
            which = list(group)
            samples = np.stack([rests[i] for i in which])
            found = self._finish([slots[i] for i in which], samples, [rows[i] for i in which], [own[i] for i in which])
            for i, said, ending in zip(which, *found, strict=True):
                parts[i], endings[i] = said, ending
        return parts, [endings[i] for i in range(len(slots))]

    def _finish(
        self, slots: Sequence[int | None], rests: np.ndarray, rows: Sequence[Endpointer], own: Own
    ) -> tuple[Parts, list[Ending]]:
        """Streams that all have begun, or all have not, with rests (N, T)."""
        held = [slot for slot in slots if slot is not None]
        owners = [] if held else self._add(own)
        state = self._load(held) if held else self._initial(owners)
        parts: Parts = [[] for _ in slots]
        if rests.shape[1]:
            parts, state = self._advance(rests, state, rows)
        with full_precision(state["search"]["margin"]):
            more, searched = search_parts(self.search, self.model.flush(state["model"])[0], None, state["search"], rows)
            endings = conclude(self.search, searched)
        for slot in held:
            self.free(slot)
        self._remove(owners)
        return [a + b for a, b in zip(parts, more, strict=True)], endings

    def free(self, slot: int) -> None:
        """The stream of this slot is over: another may take it."""
        super().free(slot)
        self._remove([self._owners.pop(slot)])

    def _add(self, own: Own) -> list[int]:
        return [0 if automata is None else self.search.add(automata) for automata in own]

    def _remove(self, owners: Sequence[int]) -> None:
        for owner in owners:
            if owner:
                self.search.remove(owner)

    def _initial(self, owners: Sequence[int]) -> State:
        streams, owner = len(owners), torch.tensor(owners, device=self.device) if any(owners) else 0
        return {
            "model": self.model.initial_state(streams),
            "search": self.search.initial_state(streams, self.device, owner),
        }

    def _advance(self, samples: np.ndarray, state: State, rows: Sequence[Endpointer]) -> tuple[Parts, State]:
        x: Tensor = torch.from_numpy(samples).to(self.device)[..., None]
        with full_precision(x):
            x, _, model = self.model.step(x, None, state["model"])
            parts, search = search_parts(self.search, x, None, state["search"], rows)
        return parts, {"model": model, "search": search}

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
