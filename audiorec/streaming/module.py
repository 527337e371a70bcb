"""``StreamingModule``: the contract every layer, chain and model keeps (docs/design.md, section 2)."""

import copy
import math
from functools import cached_property
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiorec.streaming.ragged import append, mask, mask_finite
from audiorec.streaming.state import State, batch_size, leaves

M = TypeVar("M", bound=nn.Module)


class StreamingModule(nn.Module):
    """A module that gives the same numbers for a whole utterance and chunk by chunk.

    ``step`` takes x (B, T, input_dim) and the state after the frames before. Either every row is whole, ``lengths`` None: T
    is any multiple of ``block``, or any other number, which ends all streams. Or rows are ragged: ``lengths`` (B,) counts
    the valid frames of each, a multiple of ``block``, or any other number, which ends that row's stream; T is a multiple of
    ``block``, and frames past a row's length reach nothing.

    A subclass writes ``reach``, ``initial_state``, ``advance``, and ``flush`` if it looks ahead; it sets ``stride`` and
    ``block`` where they are not 1. ``step`` and ``forward`` check their arguments and call ``advance`` and ``offline``, which
    trust theirs: so a chain is checked once.
    """

    stride: int = 1  # input frames per output frame
    block: int = 1  # step() takes multiples of this many input frames
    _anchor: Tensor

    def __init__(self, input_dim: int, output_dim: int):
        super().__init__()
        self.input_dim = input_dim
        self.output_dim = output_dim
        # Follows .to(): tells a module without parameters its device and dtype.
        self.register_buffer("_anchor", torch.empty(0), persistent=False)

    # What a module says of itself

    def reach(self, t: int) -> float:
        """The last input frame that output frame ``t`` may depend on; infinite where that is the utterance's last."""
        return t * self.stride + self.stride - 1

    def total(self, frames: int) -> int:
        """Output frames of an utterance of ``frames`` input frames: ceil(frames / stride).

        A module that sets zeros before the first frame, or leaves out an end too short for a frame, says so here.
        """
        return -(-frames // self.stride)

    def ready(self, frames: int) -> int:
        """Output frames that are out once ``frames`` input frames, a multiple of ``block``, were given."""
        count = -(-frames // self.stride)
        while count and self.reach(count - 1) >= frames:
            count -= 1
        return count

    @property
    def period(self) -> int:
        """Input frames after which all inner parts are in step again; a multiple of ``block``."""
        return self.block

    @cached_property
    def lookahead(self) -> float:
        """The most input frames past its own start that an output frame waits for: max of ``reach(t) - t * stride``."""
        return max(self.reach(t) - t * self.stride for t in range(self.period // self.stride))

    @property
    def streams(self) -> bool:
        """Whether it can step: not where an output waits for the whole utterance, that is, where ``reach`` is infinite."""
        return math.isfinite(self.lookahead)

    @cached_property
    def first_feed(self) -> int:
        """Input frames to give first, then ``period`` at a time: every step then completes whole periods of output."""
        frames = int(self.reach(self.period // self.stride - 1)) + 1
        return -(-frames // self.block) * self.block

    def changed(self) -> None:
        """Forget what was computed once of this module: to be called where an option changes ``reach`` or the state."""
        for name in ("lookahead", "first_feed", "period", "_whole_state", "_ragged_state"):
            self.__dict__.pop(name, None)

    # What a module does

    def initial_state(self, batch_size: int, ragged: bool = False) -> State:
        """The state of streams that have not begun: zeros, so that the first chunk is never special.

        Of whole rows unless ``ragged``; a state serves steps of its own sort alone.
        """
        return {}

    def advance(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, Tensor | None, State]:
        """``step`` on arguments that are right. Pure: nothing is kept in self."""
        raise NotImplementedError

    def step(
        self, x: Tensor, lengths: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, Tensor | None, State]:
        """The next outputs (B, T', output_dim), their lengths (B,), None of whole rows, and the next state.

        Without a state the streams begin here. Raises ValueError for arguments that do not fit.
        """
        if state is None:
            state = self.initial_state(x.shape[0], ragged=lengths is not None)
        self.check(x, lengths, state)
        return self.advance(x, lengths, state)

    def flush(self, state: State) -> tuple[Tensor, Tensor | None]:
        """The outputs that look-ahead still holds back: (B, T', output_dim) and lengths (B,), None of whole rows.

        With nothing ever held back T' is 0, and so is B where a stateless module has no leaf that tells it.
        """
        rows = batch_size(state)
        return self._anchor.new_zeros(rows, 0, self.output_dim), self._anchor.new_zeros(rows, dtype=torch.int64)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Whole utterances: x (B, T, input_dim), lengths (B,), None where all are of T frames → (B, total(T), output_dim) and
        the total of each length, or None."""
        self.check(x, lengths)
        return self.offline(x, lengths)

    def offline(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """``forward`` on arguments that are right. Offline is streaming with one big step and a flush."""
        state = self.initial_state(x.shape[0], ragged=lengths is not None)
        padded = x if lengths is None else F.pad(x, (0, 0, 0, -x.shape[1] % self.block))
        y, y_lengths, state = self.advance(padded, lengths, state)
        y, y_lengths = append(y, y_lengths, *self.flush(state))
        return y[:, : self.total(x.shape[1])], y_lengths

    # What subclasses use

    def zeros(self, *sizes: int, dtype: torch.dtype | None = None) -> Tensor:
        """A zero-filled state leaf: float64 in a float64 module and float32 otherwise, unless ``dtype`` is given."""
        state_dtype = torch.float64 if self._anchor.dtype == torch.float64 else torch.float32
        return self._anchor.new_zeros(*sizes, dtype=dtype or state_dtype)

    # Checks

    def check(self, x: Tensor, lengths: Tensor | None, state: State | None = None) -> None:
        """One clear ValueError for a call that cannot be: wrong sizes, or a state of another model, sort or batch."""
        name = type(self).__name__
        if x.ndim != 3 or x.shape[2] != self.input_dim:
            raise ValueError(f"{name}: x must be (B, T, {self.input_dim}), got {tuple(x.shape)}")
        if lengths is not None:
            self._check_lengths(name, x, lengths)
        if state is None or torch.compiler.is_compiling():
            return
        if lengths is not None and x.shape[1] % self.block:
            raise ValueError(
                f"{name}: step takes multiples of {self.block} frames, got {x.shape[1]}; pad to a whole block"
            )
        self._check_state(name, state, lengths is not None)
        for leaf, tensor in leaves(state):
            if tensor.shape[0] != x.shape[0]:
                raise ValueError(f"{name}: the state's {leaf} has {tensor.shape[0]} rows, the input {x.shape[0]}")

    def _check_lengths(self, name: str, x: Tensor, lengths: Tensor) -> None:
        if lengths.shape != x.shape[:1]:
            raise ValueError(f"{name}: lengths must be ({x.shape[0]},), got {tuple(lengths.shape)}")
        if torch.compiler.is_compiling() or lengths.device.type != "cpu" or not lengths.numel():
            return
        if not 0 <= lengths.min() <= lengths.max() <= x.shape[1]:
            raise ValueError(f"{name}: lengths must lie in 0..{x.shape[1]}, got {lengths.tolist()}")

    @cached_property
    def _whole_state(self) -> dict[str, tuple]:
        return {leaf: tuple(tensor.shape) for leaf, tensor in leaves(self.initial_state(0))}

    @cached_property
    def _ragged_state(self) -> dict[str, tuple]:
        return {leaf: tuple(tensor.shape) for leaf, tensor in leaves(self.initial_state(0, ragged=True))}

    def _check_state(self, name: str, state: State, ragged: bool) -> None:
        """That all leaves are there, in their shapes; of whole rows the number of frames that wait differs."""
        expected = self._ragged_state if ragged else self._whole_state
        given = {leaf: tuple(tensor.shape) for leaf, tensor in leaves(state)}
        if expected.keys() != given.keys():
            if given.keys() == (self._whole_state if ragged else self._ragged_state).keys():
                raise ValueError(
                    f"{name}: the state is one of {'whole' if ragged else 'ragged'} rows, which "
                    f"{'takes no lengths' if ragged else 'takes lengths'}; begin with initial_state(…, ragged={ragged})"
                )
            only = sorted(expected.keys() ^ given.keys())
            raise ValueError(
                f"{name}: the state of another model: {', '.join(only[:3])} {'is' if len(only) == 1 else 'are'} in one "
                "of the two alone"
            )
        for leaf, shape in expected.items():
            start = 2 if not ragged and len(shape) == 3 else 1
            if len(given[leaf]) != len(shape) or given[leaf][start:] != shape[start:]:
                raise ValueError(
                    f"{name}: the state's {leaf} has rows of {given[leaf][1:]}, this module's of {shape[1:]}: "
                    "it is another model's, or of another latency"
                )


class Pointwise(StreamingModule):
    """Any frame-wise module (linear, norm, activation, dropout) as a streaming one: no state, padding stays zero."""

    def __init__(self, module: nn.Module, input_dim: int, output_dim: int | None = None):
        super().__init__(input_dim, input_dim if output_dim is None else output_dim)
        self.module = module

    def advance(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, Tensor | None, State]:
        # Masked on entry too: a NaN in the padding would otherwise reach the gradient of the weights.
        return mask_finite(self.module(mask(x, lengths)), lengths), lengths, state


def share(module: M) -> M:
    """A copy of the tree of modules that has the very same parameters and buffers; changing one leaves the other."""
    twin = module.__new__(type(module))  # not copy.copy, which torch forbids where a weight has an adapter
    vars(twin).update({name: copy.copy(v) if isinstance(v, dict) else v for name, v in vars(module).items()})
    twin._modules = {name: child and share(child) for name, child in module._modules.items()}
    if isinstance(twin, StreamingModule):
        twin.changed()
    return twin
