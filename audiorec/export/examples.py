"""The graphs of a live stream, and of a transducer, each with what it is traced with: arguments, and which of their axes vary."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from audiorec.export.graphs import Begin, End, JoinerPart, Layout, Part, PredictorPart, Short, Step, layout_of
from audiorec.models import AsrModel
from audiorec.models.transducer import TransducerHead

ROWS = 3  # of the examples

Traced = tuple[Part, list[Tensor], list[Any]]


class StreamParts(NamedTuple):
    begin: Traced
    step: Callable[[int], Traced]  # of a number of periods
    end: Traced
    short: Traced
    layout: Layout


def stream_parts(model: AsrModel, head: nn.Module) -> StreamParts:
    """Those of ``model``, in evaluation mode and as far as ``head`` reads it; the batch varies."""
    layout, batch = layout_of(model), {0: torch.export.Dim("batch")}
    parts = model, head, layout

    def samples(count: int) -> Tensor:
        return torch.randn(ROWS, count) / 10

    begin, first = Begin(*parts), samples(model.first_feed)
    with torch.no_grad():
        _, *state = begin(first)
    states = [batch] * len(state)
    lengths = torch.arange(ROWS) * model.period // ROWS
    return StreamParts(
        begin=(begin, [first], [batch]),
        step=lambda k: (Step(*parts), [samples(k * model.period), *state], [batch, *states]),
        end=(End(*parts), [samples(model.period), lengths, *state], [batch, batch, *states]),
        short=(Short(*parts), [first, lengths], [batch, batch]),
        layout=layout,
    )


class TransducerParts(NamedTuple):
    predictor: tuple[PredictorPart, list[Tensor], list[Any]]
    joiner: Traced
    begin: dict[str, Tensor]  # ``read`` and the state of one row before any symbol


def transducer_parts(head: TransducerHead) -> TransducerParts:
    """Those of ``head``; the rows vary, and the joiner's frames."""
    predictor, joiner = PredictorPart(head), JoinerPart(head)
    rows, time = {0: torch.export.Dim("rows")}, torch.export.Dim("time")
    with torch.no_grad():
        begin = predictor.begin()
    state = [begin[f"state.{name}"].expand(ROWS, *begin[f"state.{name}"].shape[1:]) for name in predictor.layout.names]
    arguments = [torch.ones(ROWS, dtype=torch.int64), *(leaf.contiguous() for leaf in state)]
    read = begin["read"].expand(ROWS, -1).contiguous()
    frames = torch.randn(ROWS, 5, read.shape[1])
    return TransducerParts(
        predictor=(predictor, arguments, [rows] * len(arguments)),
        joiner=(joiner, [frames, read], [{**rows, 1: time}, rows]),
        begin=begin,
    )
