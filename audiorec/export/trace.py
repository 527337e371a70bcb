"""From a ``Part`` to an ONNX graph: traced by torch.export, translated by torch.onnx, folded by onnxscript."""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import torch
from audiorec_kernels.backends import for_onnx
from torch import Tensor

from audiorec.export.graphs import Part
from audiorec.export.rewriting import LAYER

_NO_LIMIT = 1 << 40  # bytes of what is folded: an LSTM's weights are put together once and for all


def trace(part: Part, arguments: Sequence[Tensor], dynamic: Sequence[Mapping[int, Any]]) -> Any:
    """The graph, an ``onnx_ir.Model``, of ``part`` with these example arguments; ``dynamic`` says of each which axes vary.

    Its inputs and outputs have the part's names.
    """
    return _translated(part, _captured(part, arguments, dynamic))


def holds(part: Part, model: Any, example: Sequence[Tensor]) -> bool:
    """Whether the graph gives, in onnxruntime, what the part gives; False where it breaks.

    What a number of frames decides is traced as it comes out for the example, of which torch does not always tell.
    """
    import onnx_ir
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what breaks is no one's error here
    with torch.no_grad():
        expected = part(*example)
    try:
        session = onnxruntime.InferenceSession(onnx_ir.to_proto(model).SerializeToString(), options)
        given = session.run(None, {name: x.numpy() for name, x in zip(part.inputs, example, strict=True)})
    except Exception:  # onnxruntime's exceptions have no public base
        return False
    return all(
        a.shape == b.shape and torch.allclose(a, torch.from_numpy(b), rtol=1e-3, atol=1e-4)
        for a, b in zip(expected, given, strict=True)
    )


def _captured(
    part: Part, arguments: Sequence[Tensor], dynamic: Sequence[Mapping[int, Any]]
) -> torch.export.ExportedProgram:
    with torch.no_grad(), for_onnx(), _quiet():
        shapes = {"tensors": tuple(dynamic)}
        return torch.export.export(part, tuple(arguments), dynamic_shapes=shapes, strict=False)


def _translated(part: Part, program: torch.export.ExportedProgram) -> Any:
    from onnxscript import optimizer

    with _quiet(), _one_table():
        exported = torch.onnx.export(program, dynamo=True, optimize=False, verbose=False)
        assert exported is not None  # it would be with a path to write to
        model = exported.model
        _name_layers(model.graph)
        # Folded first: the search for patterns then has a third of the nodes, and takes a tenth of the time.
        limits: dict[str, Any] = {"input_size_limit": _NO_LIMIT, "output_size_limit": _NO_LIMIT}
        optimizer.fold_constants(model, onnx_shape_inference=False, **limits)
        optimizer.remove_unused_nodes(model)
        optimizer.optimize(model, **limits)
    _rename(model.graph, part)
    for node in model.graph.all_nodes():  # where in torch a node comes from takes more room than the node
        layer = node.metadata_props.get(LAYER)
        node.metadata_props.clear()
        node.metadata_props.update({LAYER: layer} if layer else {})
        for value in node.outputs:
            value.metadata_props.clear()
            if not value.is_graph_output():
                value.shape = value.type = None  # onnxruntime infers them
    return model


def _name_layers(graph: Any) -> None:
    """Each node that takes a parameter, perhaps rearranged, says of which module: folding loses the parameters' names."""
    module: dict[Any, str] = {}
    fixed = set(graph.initializers.values())
    for value in fixed:
        path, dot, _ = (value.name or "").removeprefix("model.").rpartition(".")
        if dot:
            module[value] = path
    for node in graph:
        found = next((module[value] for value in node.inputs if value in module), None)
        if found:
            node.metadata_props[LAYER] = found
        if all(value is None or value in fixed for value in node.inputs):
            fixed.update(node.outputs)
            module.update(dict.fromkeys(node.outputs, found) if found else {})


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
def _one_table() -> Iterator[None]:
    """torch makes its table of ONNX's functions anew for every graph, in half a second; here all have the first one."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    name = "from_torchlib"
    own, make = vars(ONNXRegistry)[name], getattr(ONNXRegistry, name)
    setattr(ONNXRegistry, name, staticmethod(partial(_table, make)))
    try:
        yield
    finally:
        setattr(ONNXRegistry, name, own)


@cache
def _table(make: Callable[..., Any], **version: int) -> Any:
    return make(**version)


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
