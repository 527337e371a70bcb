"""``Topology``: which paths a transducer's lattice has."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Topology:
    """``rnnt_type``: regular, any number of symbols a frame; modified or constrained, at most one.

    ``durations``: frames that a symbol may last, of a token-and-duration transducer; then ``rnnt_type`` means nothing.
    """

    rnnt_type: str = "regular"
    durations: tuple[int, ...] = ()

    @property
    def one_symbol_a_frame(self) -> bool:
        return min(self.durations) > 0 if self.durations else self.rnnt_type != "regular"
