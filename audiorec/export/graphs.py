"""What a live stream computes, as functions of plain tensors in a row: begin, step, end, short, and a transducer's parts.

``torch.export`` takes modules whose arguments and results are flat. So a state goes in and out as its leaves in their order,
without those that are always empty (what waits where nothing waits), which a graph makes anew.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from audiorec.models import AsrModel
from audiorec.models.classify import ClassifyHead
from audiorec.models.transducer import TransducerHead
from audiorec.streaming import State, append, as_ragged, leaves, map_state


@dataclass
class Leaf:
    """A tensor of a state: its dotted name, its shape without the batch, and its dtype, as in "float32"."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def empty(self) -> bool:
        return 0 in self.shape


class Layout:
    """How the tree of a state lies in a flat list."""

    def __init__(self, state: State):
        self.tree = map_state(lambda leaf: leaf[:1].clone(), state)  # torch.export.save cannot write an empty view
        every = [
            Leaf(name, tuple(leaf.shape[1:]), str(leaf.dtype).removeprefix("torch.")) for name, leaf in leaves(state)
        ]
        self.leaves = [leaf for leaf in every if not leaf.empty]

    @property
    def names(self) -> list[str]:
        return [leaf.name for leaf in self.leaves]

    def flat(self, state: State) -> list[Tensor]:
        """The leaves that are never empty, in order. Raises AssertionError where the state has other shapes."""
        by_name = dict(leaves(state))
        for leaf in self.leaves:
            assert tuple(by_name[leaf.name].shape[1:]) == leaf.shape, f"the shape of {leaf.name} changes between steps"
        return [by_name[name] for name in self.names]

    def unflat(self, tensors: Sequence[Tensor]) -> State:
        given, batch = iter(tensors), tensors[0].shape[0]
        return self._fill(self.tree, given, batch)

    def _fill(self, tree: State, given: Iterator[Tensor], batch: int) -> State:
        return {
            key: self._fill(leaf, given, batch)
            if isinstance(leaf, dict)
            else (next(given) if leaf.numel() else leaf.new_zeros(batch, *leaf.shape[1:]))
            for key, leaf in tree.items()
        }


class Part(nn.Module):
    """One graph: ``compute`` of tensors, with the names of what goes in and comes out."""

    inputs: Sequence[str]
    outputs: Sequence[str]
    compute: Callable[..., tuple[Tensor, ...]]

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return self.compute(*tensors)


class Scored(Part):
    """What the graphs of the encoder share: the model as far as ``head`` reads it, and what the head makes of a frame alone."""

    def __init__(self, model: AsrModel, head: nn.Module, layout: Layout):
        super().__init__()
        self.model = model
        self.head = head
        self.layout = layout


def scores(head: nn.Module, y: Tensor) -> Tensor:
    """What a head makes of encoder frames (B, T, dim) one by one: log-probabilities of ctc and frames, what a transducer's joiner
    reads of them, logits of classify, whose mean over the frames is that of the recording."""
    if isinstance(head, TransducerHead):
        return head.joiner.encoder_proj(y)
    return head.linear(y) if isinstance(head, ClassifyHead) else head(y)


class Begin(Scored):
    """samples (B, first_feed) → frames, state."""

    def __init__(self, *parts: Any):
        super().__init__(*parts)
        self.inputs, self.outputs = ["samples"], ["frames", *(f"state.{name}" for name in self.layout.names)]

    def compute(self, samples: Tensor) -> tuple[Tensor, ...]:
        y, _, state = self.model.advance(samples[..., None], None, self.model.initial_state(samples.shape[0]))
        return scores(self.head, y), *self.layout.flat(state)


class Step(Scored):
    """samples (B, k · period), state → frames, next state."""

    def __init__(self, *parts: Any):
        super().__init__(*parts)
        names = self.layout.names
        self.inputs = ["samples", *(f"state.{name}" for name in names)]
        self.outputs = ["frames", *(f"next.{name}" for name in names)]

    def compute(self, samples: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        y, _, state = self.model.advance(samples[..., None], None, self.layout.unflat(tensors))
        return scores(self.head, y), *self.layout.flat(state)


class Last(Scored):
    """What ends streams: their last samples, the frames that were held back, and how many frames each row has."""

    outputs = "frames", "counts"

    def last(self, samples: Tensor, lengths: Tensor, state: State) -> tuple[Tensor, ...]:
        y, counts, state = self.model.advance(samples[..., None], lengths, state)
        y, total = append(y, counts, *self.model.flush(state))
        assert total is not None  # ragged rows have lengths
        return scores(self.head, y), total


class End(Last):
    """samples (B, period), zeros past lengths (B,), 0 to period; state → the last frames of each row, and their counts."""

    def __init__(self, *parts: Any):
        super().__init__(*parts)
        self.inputs = ["samples", "lengths", *(f"state.{name}" for name in self.layout.names)]

    def compute(self, samples: Tensor, lengths: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        ragged = self.model.initial_state(samples.shape[0], ragged=True)
        return self.last(samples, lengths, as_ragged(self.layout.unflat(tensors), ragged))


class Short(Last):
    """samples (B, first_feed), zeros past lengths (B,), fewer than first_feed → all frames of each row, and their counts."""

    inputs = "samples", "lengths"

    def compute(self, samples: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        return self.last(samples, lengths, self.model.initial_state(samples.shape[0], ragged=True))


class PredictorPart(Part):
    """symbols (N,), the predictor's state → what the joiner reads of the history with these symbols, and its state."""

    def __init__(self, head: TransducerHead):
        super().__init__()
        self.predictor, self.project = head.predictor, head.joiner.predictor_proj
        self.layout = Layout(self.predictor.initial_state(1))
        names = self.layout.names
        self.inputs = ["symbols", *(f"state.{name}" for name in names)]
        self.outputs = ["read", *(f"next.{name}" for name in names)]

    def compute(self, symbols: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        state = self.predictor.step(symbols, self.layout.unflat(tensors))
        return self.project(self.predictor.output(state)), *self.layout.flat(state)

    def begin(self) -> dict[str, Tensor]:
        """``read`` and the state of one row that has no symbols yet."""
        state = self.predictor.initial_state(1)
        read = self.project(self.predictor.output(state))
        return {"read": read, **{f"state.{name}": leaf for name, leaf in leaves(state)}}


class JoinerPart(Part):
    """frames (N, T, J), read (N, J) → logits (N, T, V), those of a TDT's durations after the symbols'."""

    inputs, outputs = ("frames", "read"), ("logits",)

    def __init__(self, head: TransducerHead):
        super().__init__()
        self.joiner = head.joiner

    def compute(self, frames: Tensor, read: Tensor) -> tuple[Tensor, ...]:
        return (self.joiner(frames, read[:, None]),)


def layout_of(model: AsrModel) -> Layout:
    """The layout of the state that a stream has after its first feed and after every period."""
    with torch.no_grad():
        _, _, state = model.step(torch.zeros(1, model.first_feed, 1))
        return Layout(state)
