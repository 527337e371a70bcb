"""``export_onnx``: a model as a folder of ONNX graphs that a live stream calls: begin, step, end, short, and a head's parts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from audiorec.errors import UserError
from audiorec.export.graphs import Begin, End, JoinerPart, Layout, PredictorPart, Short, Step, layout_of
from audiorec.export.trace import trace
from audiorec.models import AsrModel
from audiorec.models.heads import CtcHead
from audiorec.models.transducer import TransducerHead

# Numbers of periods of a step that have a graph each, where one graph cannot serve all.
SIZES = 1, 2, 4, 8
_ROWS = 3  # of the example batch


def graphs_of(model: AsrModel, head: nn.Module) -> tuple[dict[str, Any], Layout]:
    """The graphs of ``model``, in evaluation mode and as far as ``head`` reads it, by their names, and the state's layout."""
    layout, batch = layout_of(model), {0: torch.export.Dim("batch")}
    parts = model, head, layout

    def samples(count: int) -> torch.Tensor:
        return torch.randn(_ROWS, count) / 10

    first, period = model.first_feed, model.period
    begin = Begin(*parts)
    with torch.no_grad():
        _, *state = begin(samples(first))
    many = [batch] * len(state)
    graphs = {"begin": trace(begin, [samples(first)], [batch])}
    for k in SIZES:
        graphs[f"step_{k}"] = trace(Step(*parts), [samples(k * period), *state], [batch, *many])
    lengths = torch.arange(_ROWS) * period // _ROWS
    graphs["end"] = trace(End(*parts), [samples(period), lengths, *state], [batch, batch, *many])
    graphs["short"] = trace(Short(*parts), [samples(first), lengths], [batch, batch])
    return graphs, layout
