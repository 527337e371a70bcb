"""``StreamingModule``: the contract every layer, chain and model keeps (docs/design.md, section 2)."""

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiorec.streaming.ragged import append, mask, mask_finite
from audiorec.streaming.state import State, batch_size, leaves


def check_keys(name: str, state: State, keys: Iterable[str]) -> None:
    """One clear ValueError where a state has other keys: it is another model's."""
    if state.keys() != set(keys):
        raise ValueError(
            f"{name}: the state of another model: it keeps {sorted(state)}, this module keeps {sorted(keys)}"
        )


class StreamingModule(nn.Module):
    """A module that gives the same numbers for a whole utterance and chunk by chunk.

    ``step`` takes x (B, T, input_dim) with T a multiple of ``block`` and ``lengths`` (B,), the valid frames of each row:
    a multiple of ``block``, or any other number, which ends that row's stream. Frames past a row's length reach nothing.
    ``reach`` says what each output may depend on; subclasses set ``stride`` and ``block`` where they are not 1.
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
        self._kept: dict[str, torch.Size | None] | None = None

    # What a module says of itself

    def reach(self, t: int) -> float:
        """The last input frame that output frame ``t`` may depend on; infinite where that is the utterance's last."""
        return t * self.stride + self.stride - 1

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

    @property
    def lookahead(self) -> float:
        """The most input frames past its own start that an output frame waits for: max of ``reach(t) - t * stride``."""
        return max(self.reach(t) - t * self.stride for t in range(self.period // self.stride))

    @property
    def streams(self) -> bool:
        """Whether it can step: not where an output waits for the whole utterance, that is, where ``reach`` is infinite."""
        return math.isfinite(self.lookahead)

    @property
    def first_feed(self) -> int:
        """Input frames to give first, then ``period`` at a time: every step then completes whole periods of output."""
        frames = int(self.reach(self.period // self.stride - 1)) + 1
        return -(-frames // self.block) * self.block

    # What a module does

    def initial_state(self, batch_size: int) -> State:
        """The state of streams that have not begun: zeros, so that the first chunk is never special."""
        return {}

    def step(self, x: Tensor, lengths: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """The next outputs (B, T', output_dim), their lengths (B,) and the next state. Pure: nothing is kept in self."""
        raise NotImplementedError

    def flush(self, state: State) -> tuple[Tensor, Tensor]:
        """The outputs that look-ahead still holds back: (B, T', output_dim) and lengths (B,).

        With nothing ever held back T' is 0, and so is B where a stateless module has no leaf that tells it.
        """
        rows = batch_size(state)
        return self._anchor.new_zeros(rows, 0, self.output_dim), self._anchor.new_zeros(rows, dtype=torch.int64)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Whole utterances: x (B, T, input_dim), lengths (B,) → (B, ceil(T / stride), output_dim) and ceil(lengths / stride).

        Offline is streaming with one big step: pad to whole blocks, step, flush.
        """
        self._check_lengths(x, lengths)  # before padding makes room for what is not there
        padded = F.pad(x, (0, 0, 0, -x.shape[1] % self.block))
        y, y_lengths, state = self.step(padded, lengths, self.initial_state(x.shape[0]))
        y, y_lengths = append(y, y_lengths, *self.flush(state))
        return y[:, : -(-x.shape[1] // self.stride)], y_lengths

    # What subclasses use

    def zeros(self, *sizes: int, dtype: torch.dtype | None = None) -> Tensor:
        """A zero-filled state leaf: float64 in a float64 module and float32 otherwise, unless ``dtype`` is given."""
        state_dtype = torch.float64 if self._anchor.dtype == torch.float64 else torch.float32
        return self._anchor.new_zeros(*sizes, dtype=dtype or state_dtype)

    def check(self, x: Tensor, lengths: Tensor, state: State | None = None) -> None:
        """One clear ValueError for a step that cannot be: wrong sizes, or a state of another model or batch."""
        name = type(self).__name__
        if x.ndim != 3 or x.shape[2] != self.input_dim:
            raise ValueError(f"{name}: x must be (B, T, {self.input_dim}), got {tuple(x.shape)}")
        if x.shape[1] % self.block:
            raise ValueError(
                f"{name}: step takes multiples of {self.block} frames, got {x.shape[1]}; pad to a whole block"
            )
        self._check_lengths(x, lengths)
        if state is None or torch.compiler.is_compiling():
            return
        self._check_state(state)
        for leaf, tensor in leaves(state):
            if tensor.shape[0] != x.shape[0]:
                raise ValueError(f"{name}: the state's {leaf} has {tensor.shape[0]} rows, the input {x.shape[0]}")

    def state_changes(self) -> None:
        """To be called where an option changes what ``initial_state`` gives."""
        self._kept = None

    def _check_lengths(self, x: Tensor, lengths: Tensor) -> None:
        name = type(self).__name__
        if lengths.shape != x.shape[:1]:
            raise ValueError(f"{name}: lengths must be ({x.shape[0]},), got {tuple(lengths.shape)}")
        if torch.compiler.is_compiling() or lengths.device.type != "cpu" or not lengths.numel():
            return
        if not 0 <= lengths.min() <= lengths.max() <= x.shape[1]:
            raise ValueError(f"{name}: lengths must lie in 0..{x.shape[1]}, got {lengths.tolist()}")

    def _check_state(self, state: State) -> None:
        """That the module's own leaves are there, in their shapes. Members of a module check theirs."""
        name = type(self).__name__
        if self._kept is None:
            self._kept = {
                key: None if isinstance(value, dict) else value.shape[1:]
                for key, value in self.initial_state(0).items()
            }
        check_keys(name, state, self._kept)
        for key, shape in self._kept.items():
            if shape is not None and state[key].shape[1:] != shape:
                raise ValueError(
                    f"{name}: the state's {key} has rows of {tuple(state[key].shape[1:])}, this module's of {tuple(shape)}: "
                    "it is another model's, or of another latency"
                )


class Pointwise(StreamingModule):
    """Any frame-wise module (linear, norm, activation, dropout) as a streaming one: no state, padding stays zero."""

    def __init__(self, module: nn.Module, input_dim: int, output_dim: int | None = None):
        super().__init__(input_dim, input_dim if output_dim is None else output_dim)
        self.module = module

    def step(self, x: Tensor, lengths: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        self.check(x, lengths, state)
        # Masked on entry too: a NaN in the padding would otherwise reach the gradient of the weights.
        return mask_finite(self.module(mask(x, lengths)), lengths), lengths, state
