"""From a ``Part`` to an ONNX graph: traced by torch.export, translated by torch.onnx, folded by onnxscript."""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from audiorec.export.graphs import Part

_NO_LIMIT = 1 << 40  # bytes of what is folded: an LSTM's weights are put together once and for all
MANY = 1 << 20  # the most that is asked of an axis whose size varies


def trace(part: Part, arguments: Sequence[Tensor], dynamic: Sequence[Mapping[int, Any]]) -> Any:
    """The graph, an ``onnx_ir.Model``, of ``part`` with these example arguments; ``dynamic`` says of each which axes vary.

    Its inputs and outputs have the part's names.
    """
    return _translated(part, _captured(part, arguments, dynamic))


def trace_any(part: Part, arguments: Sequence[Tensor], dynamic: Sequence[Mapping[int, Any]]) -> Any | None:
    """As ``trace``; None where the part's arithmetic holds for some sizes of these axes alone."""
    try:
        program = _captured(part, arguments, dynamic)
    except Exception:  # whatever a loop or a condition over an unknown number raises
        return None
    ranges = program.range_constraints.values()
    free = all(sizes.lower <= 2 and sizes.upper >= MANY for sizes in ranges)
    return _translated(part, program) if free else None


def _captured(
    part: Part, arguments: Sequence[Tensor], dynamic: Sequence[Mapping[int, Any]]
) -> torch.export.ExportedProgram:
    with torch.no_grad(), _quiet():
        shapes = {"tensors": tuple(dynamic)}
        return torch.export.export(part, tuple(arguments), dynamic_shapes=shapes, strict=False)


def _translated(part: Part, program: torch.export.ExportedProgram) -> Any:
    from onnxscript import optimizer

    with _quiet():
        model = torch.onnx.export(program, dynamo=True, optimize=False, verbose=False).model
        optimizer.optimize(model, input_size_limit=_NO_LIMIT, output_size_limit=_NO_LIMIT)
    _rename(model.graph, part)
    return model


def _rename(graph: Any, part: Part) -> None:
    """The part's names for what goes in and out; an output that is an input, or another output, gets a node of its own."""
    import onnx_ir as ir

    for value, name in zip(graph.inputs, part.inputs, strict=True):
        value.name = name
    seen = {id(value) for value in graph.inputs}
    for i, (value, name) in enumerate(zip(graph.outputs, part.outputs, strict=True)):
        if id(value) in seen or value.is_initializer():
            node = ir.node("Identity", [value])
            graph.append(node)
            copy = node.outputs[0]
            copy.shape, copy.type = value.shape, value.type
            graph.outputs[i] = value = copy
        value.name = name
        seen.add(id(value))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch says of its own parts while it exports."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
