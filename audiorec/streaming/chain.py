"""Chains and branches: ``Sequential``, ``Parallel``, ``Residual``. They keep every member in whole blocks and in step."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from math import lcm, prod
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from audiorec.streaming.module import StreamingModule, share
from audiorec.streaming.ragged import Carry, append, mask, mask_finite
from audiorec.streaming.state import State, batch_size

Chain = TypeVar("Chain", bound="Sequential")


def _named(modules: tuple, named: Mapping[str, StreamingModule]) -> dict[str, StreamingModule]:
    return {**{str(i): module for i, module in enumerate(modules)}, **named}


class Sequential(StreamingModule):
    """One member after another: ``Sequential(a, b)`` or ``Sequential(features=a, encoder=b)``.

    A member takes whole blocks; frames that fall short of the next member's block wait in a ``Carry`` and are handed on
    in flush at the latest. State: each member's own under its name, and ``NAME_rest`` for the frames that wait before it.
    """

    def __init__(self, *modules: StreamingModule, **named: StreamingModule):
        members = _named(modules, named)
        first, last = next(iter(members.values())), next(reversed(members.values()))
        super().__init__(first.input_dim, last.output_dim)
        self.names = tuple(members)
        self.block = first.block
        self.carries: dict[str, Carry] = {}
        dim = first.input_dim
        for name, member in members.items():
            if member.input_dim != dim:
                raise ValueError(f"Sequential: {name} takes {member.input_dim} channels, the member before gives {dim}")
            if member is not first and member.block > 1:
                self.carries[name] = Carry(member.block - 1, dim)
            self.add_module(name, member)
            self.stride = self.stride * member.stride
            dim = member.output_dim

    @property
    def members(self) -> list[tuple[str, StreamingModule]]:
        return [(name, self._modules[name]) for name in self.names]  # type: ignore[misc]

    def only(self: Chain, names: Sequence[str]) -> Chain:
        """A light view of these members alone, in this order, the chain's first among them: it shares their weights and has
        no others'; the chain stays as it is."""
        view = share(self)
        for name in set(self.names) - set(names):
            del view._modules[name]
        view.names = tuple(names)
        view.changed()
        return view

    def changed(self) -> None:
        super().changed()
        members = [member for _, member in self.members]
        self.stride = prod(member.stride for member in members)
        self.output_dim = members[-1].output_dim

    def reach(self, t: int) -> float:
        for _, member in reversed(self.members):
            t = member.reach(t)  # type: ignore[assignment]
        return t

    def total(self, frames: int) -> int:
        for _, member in self.members:
            frames = member.total(frames)
        return frames

    def ready(self, frames: int) -> int:
        for _, member in self.members:
            frames = member.ready(frames // member.block * member.block)
        return frames

    @cached_property
    def period(self) -> int:
        periods, stride = [], 1
        for _, member in self.members:
            periods.append(stride * member.period)
            stride *= member.stride
        return lcm(*periods, stride)

    def initial_state(self, batch_size: int, ragged: bool = False) -> State:
        state: State = {}
        for name, member in self.members:
            if name in self.carries:
                state[f"{name}_rest"] = self.carries[name].initial_state(batch_size, self.zeros(0), ragged)
            state[name] = member.initial_state(batch_size, ragged)
        return state

    def advance(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, Tensor | None, State]:
        new: State = {}
        for name, member in self.members:
            if carry := self.carries.get(name):
                rest = state[f"{name}_rest"]
                frames, total = carry.join(rest, x, lengths)
                size = frames.shape[1] // member.block * member.block
                lengths = None if total is None else total // member.block * member.block
                x = mask_finite(frames[:, :size], lengths)
                new[f"{name}_rest"] = carry.keep(rest, frames, size if lengths is None else lengths, total)
            if lengths is None and x.shape[1] == 0:  # nothing is ready for this member yet
                x, new[name] = x.new_zeros(x.shape[0], 0, member.output_dim), state[name]
            else:
                x, lengths, new[name] = member.advance(x, lengths, state[name])
        return x, lengths, new

    def flush(self, state: State) -> tuple[Tensor, Tensor | None]:
        x, lengths = super().flush(state)
        for name, member in self.members:
            inner = state[name]
            if carry := self.carries.get(name):
                rest = state[f"{name}_rest"]
                x, lengths = carry.join(rest, x, lengths) if x.shape[1] else carry.rest(rest, like=x)
            if x.shape[1] == 0:
                x, lengths = member.flush(inner)
                continue
            if lengths is not None:
                x = F.pad(x, (0, 0, 0, -x.shape[1] % member.block))
            y, y_lengths, inner = member.advance(x, lengths, inner)
            x, lengths = append(y, y_lengths, *member.flush(inner))
        return x, lengths

    def offline(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        # Member by member, which is the same as one big step and a flush of the chain (law 1) with half the calls.
        for _, member in self.members:
            x, lengths = self.through(member, x, lengths)
        return x, lengths

    def through(self, member: StreamingModule, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """``member.offline``; of no frames, which an utterance too short for one leaves, it is not asked."""
        if x.shape[1] == 0:
            return x.new_zeros(x.shape[0], 0, member.output_dim), lengths
        return member.offline(x, lengths)


class Parallel(StreamingModule):
    """Branches of equal stride on one input, summed or concatenated. Whichever is ahead waits for the others.

    State: each branch's own under its name, and ``NAME_wait`` for the outputs that wait.
    """

    def __init__(self, *modules: StreamingModule, combine: str = "sum", **named: StreamingModule):
        branches = _named(modules, named)
        members = list(branches.values())
        dims = [member.output_dim for member in members]
        if combine not in ("sum", "concat"):
            raise ValueError(f"Parallel: combine must be 'sum' or 'concat', got {combine!r}")
        if len({member.stride for member in members}) > 1 or len({member.input_dim for member in members}) > 1:
            raise ValueError("Parallel: branches must have one stride and one input size")
        if combine == "sum" and len(set(dims)) > 1:
            raise ValueError(f"Parallel: branches to be summed must have one output size, got {dims}")
        super().__init__(members[0].input_dim, sum(dims) if combine == "concat" else dims[0])
        self.names = tuple(branches)
        self.combine = combine
        self.stride = members[0].stride
        self.block = lcm(*(member.block for member in members))
        for name, member in branches.items():
            self.add_module(name, member)
        self.carries = {
            name: Carry(wait, member.output_dim) for name, member in self.members if (wait := self._wait(member))
        }

    @property
    def members(self) -> list[tuple[str, StreamingModule]]:
        return [(name, self._modules[name]) for name in self.names]  # type: ignore[misc]

    def _wait(self, member: StreamingModule) -> int:
        """The largest number of output frames of ``member`` that ever wait for the slowest branch."""
        longest = 0
        for frames in range(self.period * 2 + int(self.lookahead) + 1):
            slowest = min(other.ready(frames // other.block * other.block) for _, other in self.members)
            # A row that ends within a block may give that block's outputs at once.
            ahead = min(member.ready(-(-frames // member.block) * member.block), member.total(frames))
            longest = max(longest, ahead - slowest)
        return longest

    def reach(self, t: int) -> float:
        return max(member.reach(t) for _, member in self.members)

    def ready(self, frames: int) -> int:
        return min(member.ready(frames) for _, member in self.members)

    @cached_property
    def period(self) -> int:
        return lcm(*(member.period for _, member in self.members))

    def initial_state(self, batch_size: int, ragged: bool = False) -> State:
        states: State = {name: member.initial_state(batch_size, ragged) for name, member in self.members}
        waits = {f"{name}_wait": c.initial_state(batch_size, self.zeros(0), ragged) for name, c in self.carries.items()}
        return states | waits

    def advance(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, Tensor | None, State]:
        new: State = {}
        outputs, totals = [], []
        for name, member in self.members:
            y, total, new[name] = member.advance(x, lengths, state[name])
            if name in self.carries:
                y, total = self.carries[name].join(state[f"{name}_wait"], y, total)
            outputs.append(y)
            totals.append(total)
        size = min(y.shape[1] for y in outputs)
        ready = None if lengths is None else torch.stack([n for n in totals if n is not None]).amin(0)
        for name, y, total in zip(self.names, outputs, totals, strict=True):
            if name in self.carries:
                wait = state[f"{name}_wait"]
                new[f"{name}_wait"] = self.carries[name].keep(wait, y, size if ready is None else ready, total)
        return *self._join(outputs, ready), new

    def flush(self, state: State) -> tuple[Tensor, Tensor | None]:
        outputs, totals = [], []
        for name, member in self.members:
            y, total = member.flush(state[name])
            if name in self.carries:
                wait = state[f"{name}_wait"]
                carry = self.carries[name]
                y, total = carry.join(wait, y, total) if y.shape[1] else carry.rest(wait, like=y)
            outputs.append(y)
            totals.append(total)
        if min(y.shape[1] for y in outputs) == 0:
            rows = batch_size(state)
            return self._anchor.new_zeros(rows, 0, self.output_dim), self._anchor.new_zeros(rows, dtype=torch.int64)
        return self._join(outputs, totals[0])

    def offline(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        outputs = [member.offline(x, lengths) for _, member in self.members]
        return self._join([y for y, _ in outputs], outputs[0][1])

    def _join(self, outputs: list[Tensor], lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        size = min(y.shape[1] for y in outputs)
        outputs = [y if y.shape[1] == size else y[:, :size] for y in outputs]
        y = torch.cat(outputs, -1) if self.combine == "concat" else sum(outputs[1:], outputs[0])
        return mask_finite(y, lengths), lengths


class Skip(StreamingModule):
    """Its input as it came: the branch beside a residual's module."""

    def __init__(self, dim: int):
        super().__init__(dim, dim)

    def advance(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, Tensor | None, State]:
        return mask(x, lengths), lengths, state


class Residual(Parallel):
    """``x + module(x)``; the skip waits for the module's look-ahead."""

    def __init__(self, module: StreamingModule):
        super().__init__(module=module, skip=Skip(module.input_dim))
