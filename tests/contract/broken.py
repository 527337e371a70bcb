"""Modules that each break one law, so that the laws are seen to fail."""

import torch
from torch import Tensor

from audiorec.streaming import State, StreamingModule, mask
from audiorec.testing.lookahead import Ahead


class KeepsPadding(StreamingModule):
    """A running sum whose state takes in whatever stands past the row's length."""

    def __init__(self):
        super().__init__(4, 4)

    def initial_state(self, batch_size: int, ragged: bool = False) -> State:
        return {"sum": self.zeros(batch_size, 4)}

    def advance(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, Tensor | None, State]:
        y = mask(state["sum"][:, None] + mask(x, lengths).cumsum(1), lengths)
        return y, lengths, {"sum": state["sum"] + x.sum(1)}


class Peeks(Ahead):
    """Sees two frames ahead and says one."""

    def __init__(self):
        super().__init__(4, 2)

    def reach(self, t: int) -> int:
        return t + 1


class DropsLast(Ahead):
    """Its flush keeps the last frame for itself."""

    def __init__(self):
        super().__init__(4, 2)

    def flush(self, state: State) -> tuple[Tensor, Tensor]:
        y, lengths = super().flush(state)
        if lengths is None:
            return y[:, :-1], None
        return mask(y, (lengths - 1).clamp(min=0)), (lengths - 1).clamp(min=0)


class Grows(StreamingModule):
    """Keeps every frame it ever saw."""

    def __init__(self):
        super().__init__(4, 4)

    def initial_state(self, batch_size: int, ragged: bool = False) -> State:
        return {"seen": self.zeros(batch_size, 1, 4)}

    def advance(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, Tensor | None, State]:
        x = mask(x, lengths)
        return x, lengths, {"seen": torch.cat([state["seen"], x.to(state["seen"].dtype)], 1)}


class SkipsWrong(Ahead):
    """A residual by hand: the skip is not delayed by the branch's look-ahead."""

    def __init__(self):
        super().__init__(4, 2)

    def advance(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, Tensor | None, State]:
        y, given, new = super().advance(x, lengths, state)
        return mask(y + mask(x, lengths), given), given, new


class ForksWhole(StreamingModule):
    """Whole rows go another way, whose result is a little different."""

    def __init__(self):
        super().__init__(4, 4)

    def advance(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, Tensor | None, State]:
        x = mask(x, lengths)
        return x * (1.0 if lengths is None else 1.0 + 1e-9), lengths, state


class MixesRows(StreamingModule):
    """A batch statistic: each row sees the others."""

    def __init__(self):
        super().__init__(4, 4)

    def advance(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, Tensor | None, State]:
        x = mask(x, lengths)
        return mask(x - x.mean(0), lengths), lengths, state


# What breaks, and every law it breaks: a state that grew is refused by the next step.
BROKEN = {
    "keeps padding in its state": (KeepsPadding, {"padding"}),
    "peeks ahead": (Peeks, {"causality"}),
    "drops a frame in flush": (DropsLast, {"flush", "whole"}),
    "grows": (Grows, {"shape", "rows", "grouping", "flush", "whole"}),
    "aligns a residual wrongly": (SkipsWrong, {"grouping", "whole"}),
    "differs without lengths": (ForksWhole, {"whole"}),
    "mixes rows": (MixesRows, {"rows"}),
}
