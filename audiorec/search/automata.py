"""The automata of a search: ``Shared``, the same for all rows, or a ``Pool``, of which each row has its own few."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from audiorec_kernels import beam as kernel
from torch import Tensor

from audiorec.errors import UserError
from audiorec.search.automaton import Automaton, common_symbols
from audiorec.search.tensors import Tensors
from audiorec.streaming import State


class Shared:
    """The same automata for all rows. State: ``automata`` (B, K, F), the states of F automata for K hypotheses."""

    def __init__(self, automata: Sequence[Automaton] = (), symbols: int | None = None):
        self.automata = tuple(automata)
        self.symbols = common_symbols(self.automata, symbols)
        self._kernel: kernel.Automata | None = None

    def __bool__(self) -> bool:
        return bool(self.automata)

    def add(self, automata: Sequence[Automaton]) -> int:
        """Raises UserError: a row has no room for automata of its own."""
        raise UserError("search: its rows have no room for automata of their own; make it with columns=2")

    def remove(self, owner: int) -> None:
        """Raises UserError: none was added."""
        raise _unknown(owner)

    def initial_state(self, rows: int, beam: int, device: torch.device | str, owner: int | Tensor = 0) -> State:
        """Raises UserError for another ``owner`` than 0."""
        for one in _different(owner) - {0}:
            raise _unknown(one)
        starts = torch.tensor([automaton.start for automaton in self.automata], dtype=torch.int64, device=device)
        return {"automata": starts.expand(rows, beam, -1).clone()}

    def step(self, state: State, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Of tokens (B, K, N) after the hypotheses: the sums of their weights, and the next states (B, K, N, F)."""
        here = [one.tensors(tokens.device) for one in self.automata]
        pairs = [one.step(state["automata"][..., f, None], tokens) for f, one in enumerate(here)]
        weights, targets = zip(*pairs, strict=True)
        return reduce(torch.add, weights), torch.stack(targets, -1)

    def final(self, state: State) -> Tensor:
        """(B, K): what the end adds to each hypothesis."""
        here = [one.tensors(state["automata"].device) for one in self.automata]
        return reduce(torch.add, [one.final[state["automata"][..., f]] for f, one in enumerate(here)])

    def kernel(self) -> kernel.Automata:
        """These as the native kernel reads them."""
        if self._kernel is None:
            self._kernel = kernel.Automata([[one.kernel for one in self.automata]])
        return self._kernel


@dataclass
class Member:
    """An automaton in a pool: how many sets hold it, and which state there is its first."""

    automaton: Automaton
    uses: int = 0
    first: int = 0


class Pool:
    """Sets of up to ``columns`` automata. Each row has one set, by its id; set 0 is the search's own and may be empty.

    All automata lie in one, side by side, so that one look-up serves all rows and columns. A column for which a row has no
    automaton has the null automaton there. One that several sets hold, the same object, lies there once. ``add`` writes
    behind the others, at the cost of what it adds; where the room ends, those in use move into a larger one, a third of it
    free. Rows do not notice: they hold an id, and states as each automaton numbers its own.

    To be used by one thread at a time. State: ``owner`` (B,), the ids; ``automata`` (B, K, F), the states.
    """

    def __init__(self, columns: int, automata: Sequence[Automaton] = (), symbols: int | None = None):
        self.columns = columns
        self.symbols = symbols
        self._device = torch.device("cpu")
        self._sets: dict[int, tuple[Automaton, ...]] = {}
        self._free: list[int] = []  # ids that were given back
        self._members: dict[int, Member] = {}  # by the automaton's identity
        self._all: Tensors | None = None
        self._arcs = self._states = 0  # taken there
        self.add(automata)

    def __bool__(self) -> bool:
        """Whether a row may have an automaton; else there is nothing to look up."""
        return bool(self._members)

    def add(self, automata: Sequence[Automaton]) -> int:
        """The id of these automata. Raises UserError where they are too many, or over other symbols than the search."""
        automata = tuple(automata)
        if len(automata) > self.columns:
            raise UserError(
                f"search: a row has room for {self.columns} automata, got {len(automata)}; "
                f"make the search with columns={len(automata)}"
            )
        self.symbols = common_symbols(automata, self.symbols)
        owner = self._free.pop() if self._free else len(self._sets)
        self._sets[owner] = automata
        for automaton in automata:
            member = self._members.setdefault(id(automaton), Member(automaton))
            member.uses += 1
            if member.uses == 1:
                self._place(member)
        self._list()
        return owner

    def remove(self, owner: int) -> None:
        """Give an id back once no row has it. A row that still has it goes on without automata, until another has the id.

        Raises UserError for an id that ``add`` has not given.
        """
        if owner == 0 or owner not in self._sets:
            raise _unknown(owner)
        for automaton in self._sets.pop(owner):
            member = self._members[id(automaton)]
            member.uses -= 1
            if member.uses == 0:
                del self._members[id(automaton)]
        self._free.append(owner)
        self._list()

    def initial_state(self, rows: int, beam: int, device: torch.device | str, owner: int | Tensor = 0) -> State:
        """``owner``: the id of all rows, or of each (B,). Raises UserError for one that ``add`` has not given."""
        for one in _different(owner) - self._sets.keys():
            raise _unknown(one)
        owners = torch.as_tensor(owner, dtype=torch.int64, device=device).expand(rows).clone()
        if owners.device != self._device:
            self._device = owners.device
            if self._all is not None:
                self._move()
            self._list()
        starts = self._table[owners, 2]
        return {"owner": owners, "automata": starts[:, None].expand(-1, beam, -1).clone()}

    def step(self, state: State, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """As of ``Shared``."""
        assert self._all is not None
        weights, targets = self._all.step(self._here(state)[:, :, None], tokens[..., None])
        return weights.sum(-1), targets

    def final(self, state: State) -> Tensor:
        """As of ``Shared``."""
        assert self._all is not None
        return self._all.final[self._here(state)].sum(-1)

    def kernel(self) -> kernel.Automata:
        """As of ``Shared``."""
        if self._kernel is None:
            assert self.symbols is not None
            none = [Automaton.null(self.symbols)] * self.columns
            sets = [self._sets.get(owner, ()) for owner in range(len(self._sets) + len(self._free))]
            filled = [(*automata, *none[len(automata) :]) for automata in sets]
            self._kernel = kernel.Automata([[one.kernel for one in automata] for automata in filled])
            self._seen = filled  # their memory is used
        return self._kernel

    def _here(self, state: State) -> Tensor:
        """The rows' states (B, K, F) as the pool numbers them; for a set that is gone that of the null automaton."""
        first, last, _ = self._table[state["owner"]].unbind(1)
        return torch.minimum(state["automata"], last[:, None]) + first[:, None]

    def _place(self, new: Member) -> None:
        room, arcs, states = self._all, new.automaton.arc_count, new.automaton.state_count
        if room and self._arcs + arcs <= room.arc_count and self._states + states <= room.state_count:
            self._write(room, new)
        else:
            self._move()

    @torch.inference_mode(False)  # what is made under it cannot be written to outside
    def _move(self) -> None:
        """All members into a new room of half as much again."""
        assert self.symbols is not None
        members = self._members.values()
        arcs = self.symbols + sum(member.automaton.arc_count for member in members)
        states = 1 + sum(member.automaton.state_count for member in members)
        self._all = Tensors.room(self.symbols, arcs + arcs // 2, states + states // 2, self._device)
        self._arcs, self._states = self.symbols, 1
        for member in members:
            self._write(self._all, member)

    def _write(self, room: Tensors, member: Member) -> None:
        one, member.first = member.automaton, self._states
        room.write(one, self._arcs, self._states)
        self._arcs += one.arc_count
        self._states += one.state_count

    def _list(self) -> None:
        """Make the table (ids, 3, F) anew: of the automata of each set their first state, their last one, their start."""
        rows = []
        for owner in range(len(self._sets) + len(self._free)):
            found = [self._members[id(automaton)] for automaton in self._sets.get(owner, ())]
            places = [(one.first, one.automaton.state_count - 1, one.automaton.start) for one in found]
            rows.append([*places, *[(0, 0, 0)] * (self.columns - len(found))])
        self._table = torch.tensor(rows, device=self._device).transpose(1, 2)
        self._kernel: kernel.Automata | None = None


def _different(owner: int | Tensor) -> set[int]:
    return {owner} if isinstance(owner, int) else set(owner.tolist())


def _unknown(owner: int) -> UserError:
    return UserError(f"search: has no automata of the id {owner}; take the id that `add` gives")
