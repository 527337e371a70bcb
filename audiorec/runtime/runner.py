"""``OnnxRunner``: what computes the words of live streams by onnxruntime. Their states lie in slots, updated in place."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from audiorec.live.slots import Slots
from audiorec.runtime.graphs import Graphs
from audiorec.runtime.search import NumpySearch, Said
from audiorec.runtime.state import State, put, store, take
from audiorec.transcript import Ending, Endpointer, Hypothesis, Part, split

Parts = list[list[Part]]  # of each row
# That a graph steps at once: what lies between its nodes then stays near the processor's cache, and more gain nothing.
ROWS = 64


class OnnxRunner(Slots):
    """As ``audiorec.recognizer.Runner``, whose methods say what each does. To be used by one thread at a time."""

    def __init__(self, graphs: Graphs, search: NumpySearch, slots: int):
        super().__init__(slots, graphs.export.first_feed, graphs.export.period)
        self.graphs = graphs
        self.search = search
        self._model = {leaf.name: np.zeros((slots, *leaf.shape), leaf.dtype) for leaf in graphs.export.state}
        self._search = search.initial_state(slots)
        self._owners: dict[int, int] = {}  # slot → its stream's own automata in the search

    @property
    def revises(self) -> bool:
        """Whether ``partial`` may hold tokens that are not committed."""
        return self.search.revises

    @property
    def state_bytes(self) -> int:
        """Bytes of all slots."""
        return sum(array.nbytes for array in (*self._model.values(), *self._search.values()))

    def begin(self, samples: np.ndarray, rows: Sequence[Endpointer], own: Sequence[Any]) -> tuple[list[int], Parts]:
        """Slots for N new streams, and what their first samples (N, first_feed + k · period) commit."""
        self._must_have_room(len(samples))
        first, rest = samples[:, : self.first_feed], samples[:, self.first_feed :]
        frames, model = self.graphs.begin(np.ascontiguousarray(first))
        if rest.shape[1]:
            more, model = self.graphs.step(rest, model)
            frames = np.concatenate([frames, more], 1)
        owners = self._add(own)
        parts, search = self._hear(frames, None, self.search.initial_state(len(samples), owners), rows)
        slots = self._take_slots(len(samples))
        self._owners.update(zip(slots, owners, strict=True))
        store(self._model, slots, model)
        store(self._search, slots, search)
        return slots, parts

    def step(self, slots: Sequence[int], samples: np.ndarray, rows: Sequence[Endpointer]) -> Parts:
        """What the next samples (N, k · period) of these N slots commit."""
        parts: Parts = []
        for at in range(0, len(slots), ROWS):
            some = slice(at, at + ROWS)
            parts += self._step(slots[some], samples[some], rows[some])
        return parts

    def _step(self, slots: Sequence[int], samples: np.ndarray, rows: Sequence[Endpointer]) -> Parts:
        frames, model = self.graphs.step(samples, take(self._model, slots))
        parts, search = self._hear(frames, None, take(self._search, slots), rows)
        store(self._model, slots, model)
        store(self._search, slots, search)
        return parts

    def partial(self, slot: int) -> Hypothesis:
        """The slot's tokens that are not committed yet."""
        return self.search.partial(take(self._search, [slot]))[0]

    def commit(self, slot: int, row: Endpointer) -> list[Part]:
        """End the slot's segment at its last frame; the stream goes on."""
        (said,), state = self.search.commit(take(self._search, [slot]))
        store(self._search, [slot], state)
        return row.end(said)

    def finish(
        self,
        slots: Sequence[int | None],
        rests: Sequence[np.ndarray],
        rows: Sequence[Endpointer],
        own: Sequence[Any],
    ) -> tuple[Parts, list[Ending]]:
        """End N streams with the last samples (T,) of each, less than a feed: all in one batch, or two where some never began.

        A slot of None is that of a stream that never began. Their slots are free.
        """
        parts: Parts = [[] for _ in slots]
        endings: dict[int, Ending] = {}
        for began in (True, False):
            which = [i for i, slot in enumerate(slots) if (slot is not None) == began]
            if not which:
                continue
            owners: list[int] = []
            held = [slot for slot in slots if slot is not None]
            samples, lengths = _padded([rests[i] for i in which], self.period if began else self.first_feed)
            if began:
                frames, counts = self.graphs.end(samples, lengths, take(self._model, held))
                state = take(self._search, held)
            else:
                frames, counts = self.graphs.short(samples, lengths)
                owners = self._add([own[i] for i in which])
                state = self.search.initial_state(len(which), owners)
            found, state = self._hear(frames, counts.tolist(), state, [rows[i] for i in which])
            for row, (i, said, margin) in enumerate(zip(which, found, state["margin"].tolist(), strict=True)):
                parts[i], endings[i] = said, Ending(self.search.hypotheses(state, row), margin)
            self._remove(owners)
        for slot in slots:
            if slot is not None:
                self.free(slot)
        return parts, [endings[i] for i in range(len(slots))]

    def free(self, slot: int) -> None:
        """The stream of this slot is over: another may take it."""
        super().free(slot)
        self._remove([self._owners.pop(slot)])

    def _add(self, own: Sequence[Any]) -> list[int]:
        return [0 if automata is None else self.search.add(automata) for automata in own]

    def _remove(self, owners: Sequence[int]) -> None:
        for owner in owners:
            if owner:
                self.search.remove(owner)

    def _hear(
        self, frames: np.ndarray, lengths: list[int] | None, state: State, rows: Sequence[Endpointer]
    ) -> tuple[Parts, State]:
        streams = _Streams(self.search, frames, state)
        return split(streams, frames.shape[1], lengths, rows), streams.state


class _Streams:
    def __init__(self, search: NumpySearch, x: np.ndarray, state: State):
        self.search, self.x, self.state = search, x, state
        self.revises = search.revises

    def step(self, start: int, end: int, counts: list[int] | None) -> Said:
        lengths = None if counts is None else np.array(counts, np.int64)
        said, self.state = self.search.step(self.x[:, start:end], lengths, self.state)
        return said

    def last(self, rows: list[int]) -> list[int | None]:
        return [said.frames[-1] if said.frames else None for said in self.search.partial(take(self.state, rows))]

    def commit(self, rows: list[int]) -> Said:
        said, part = self.search.commit(take(self.state, rows))
        self.state = put(self.state, rows, part)
        return said


def _padded(rows: Sequence[np.ndarray], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of at most ``size`` samples as (B, size) with zeros past their ends, and their lengths."""
    samples = np.zeros((len(rows), size), np.float32)
    for row, into in zip(rows, samples, strict=True):
        into[: len(row)] = row
    return samples, np.array([len(row) for row in rows], np.int64)
