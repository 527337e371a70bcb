"""``Owners``: the automata of a beam's rows, of which each has its own few."""

from collections.abc import Sequence

from audiorec_kernels.beam import Automata

from audiorec.errors import UserError
from audiorec.search.automaton import Automaton, common_symbols


class Owners:
    """Sets of up to ``columns`` automata. Each row has one set, by its id; set 0 is the search's own and may be empty."""

    def __init__(self, columns: int, automata: Sequence[Automaton], symbols: int):
        self.columns = max(columns, len(automata))
        self.symbols = symbols
        self._none = Automaton.null(symbols)
        self._sets: list[tuple[Automaton, ...] | None] = []
        self.add(automata)

    def __bool__(self) -> bool:
        """Whether a row may have an automaton."""
        return any(self._sets)

    def add(self, automata: Sequence[Automaton]) -> int:
        """Raises UserError where they are too many, or over other symbols than the search."""
        if len(automata) > self.columns:
            raise UserError(f"search: a row has room for {self.columns} automata, got {len(automata)}")
        common_symbols(automata, self.symbols)
        if None not in self._sets:
            self._sets.append(None)
        owner = self._sets.index(None)
        self._sets[owner] = tuple(automata)
        self._kernel: Automata | None = None
        return owner

    def remove(self, owner: int) -> None:
        self._sets[owner] = None
        self._kernel = None

    def of(self, owner: int) -> tuple[Automaton, ...]:
        """As many as there are columns; those that are missing weigh nothing."""
        automata = self._sets[owner] or ()
        return (*automata, *[self._none] * (self.columns - len(automata)))

    def kernel(self) -> Automata:
        """These as the native kernel reads them."""
        if self._kernel is None:
            self._kernel = Automata([[one.kernel for one in self.of(owner)] for owner in range(len(self._sets))])
        return self._kernel
