"""A graph whose nodes are replaced one after another by others: new nodes, constants that stand once, and ONNX's Scan."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

MICROSOFT = "com.microsoft"  # the domain of onnxruntime's own operators
LAYER = "audiorec.layer"  # the key under which a node says whose weights it holds
PREFIX = "rewritten"  # of the names of new values, which must differ from all others
BOOL, INT64, UINT8, FLOAT = 9, 7, 2, 1  # ONNX's numbers of types

Op = Callable[..., Any]
Body = Callable[[Op, Sequence[Any], Sequence[Any]], tuple[Sequence[Any], Any]]


class Rewriting:
    """The graph, an ``onnx_ir.Graph``; new nodes stand where ``at``, the node that is replaced, stands."""

    def __init__(self, graph: Any):
        self.graph = graph
        self.at: Any = None
        self._constants: dict[str, Any] = {}
        self._count = 0

    def op(self, kind: str, inputs: Sequence[Any], outputs: int = 1, domain: str = "", **attributes: Any) -> Any:
        """The output of a new node, or the list of several."""
        place = partial(self.graph.insert_before, self.at)
        return self._made(place, kind, inputs, outputs, domain, **attributes)

    def constant(self, name: str, array: Any) -> Any:
        """An initializer of the graph; the same name means the same numbers."""
        import onnx_ir as ir

        if name not in self._constants:
            tensor = ir.tensor(np.asarray(array), name=name)
            shape, kind = ir.Shape(np.asarray(array).shape), ir.TensorType(tensor.dtype)
            value = ir.Value(name=name, const_value=tensor, shape=shape, type=kind)
            self.graph.register_initializer(value)
            self._constants[name] = value
        return self._constants[name]

    def integers(self, *numbers: int) -> Any:
        """A constant of int64 (n,), as axes and sizes are given."""
        name = ".".join([PREFIX, *(str(number).replace("-", "minus") for number in numbers)])
        return self.constant(name, np.array(numbers, np.int64))

    def number(self, number: float) -> Any:
        """A constant of one float32."""
        return self.constant(f"{PREFIX}.float.{number:.9g}", np.float32(number))

    def replace(self, *new: Any) -> None:
        """``new`` values in the place of the first outputs of ``at``, which goes."""
        for old, value in zip(self.at.outputs, new, strict=False):
            if old.is_graph_output():
                value.name, value.shape, value.type = old.name, old.shape, old.type
            old.replace_all_uses_with(value, replace_graph_outputs=True)
        self.graph.remove(self.at, safe=True)

    def scan(self, states: Sequence[Any], frames: Sequence[Any], body: Body) -> list[Any]:
        """The states after all frames, and (T, …) what each frame gave.

        ``body(op, states, frames)`` gives the states after one frame and what it gives, by nodes that ``op`` makes; values of
        the graph may go in. ``frames`` have time first; T may be anything.
        """
        import onnx_ir as ir

        self._count += 1
        name, nodes = f"{PREFIX}.scan{self._count}", list[Any]()
        states_in = [ir.Value(name=f"{name}.state{i}", type=value.type or _float()) for i, value in enumerate(states)]
        frame_in = [ir.Value(name=f"{name}.frame{i}", type=value.type or _float()) for i, value in enumerate(frames)]
        op = partial(self._made, nodes.append)
        after, said = body(op, states_in, frame_in)
        if any(said is value for value in after):  # an output of a graph has a place of its own
            said = op("Identity", [said])
        outputs = [*after, said]
        for value in outputs:
            value.type = _float()
        graph = ir.Graph([*states_in, *frame_in], outputs, nodes=nodes, name=name)
        return self.op("Scan", [*states, *frames], len(outputs), num_scan_inputs=len(frames), body=graph)

    def frames_within(self, lengths: Any, x: Any) -> Any:
        """(T, B, 1) bool: whether a frame of x (T, …) lies within its row's length (B,)."""
        import onnx_ir as ir

        count = self.op("Squeeze", [self.op("Shape", [x], start=0, end=1)])
        zero, one = (self.constant(f"{PREFIX}.scalar{n}", np.int64(n)) for n in (0, 1))
        places = self.op("Unsqueeze", [self.op("Range", [zero, count, one]), self.integers(1, 2)])
        ends = self.op("Unsqueeze", [self.op("Cast", [lengths], to=INT64), self.integers(1)])
        within = self.op("Less", [places, ends])
        within.type = ir.TensorType(ir.DataType.BOOL)
        return within

    def finish(self) -> None:
        """Take out the constants that nothing uses any more."""
        for name, value in list(self.graph.initializers.items()):
            if not value.uses() and not value.is_graph_output():
                del self.graph.initializers[name]

    def _made(
        self,
        place: Callable[[Any], Any],
        kind: str,
        inputs: Sequence[Any],
        outputs: int = 1,
        domain: str = "",
        **attributes: Any,
    ) -> Any:
        """As ``op``, of a node that ``place`` puts where it belongs."""
        import onnx_ir as ir

        layer = self.at.metadata_props.get(LAYER)
        node = ir.node(kind, list(inputs), attributes, num_outputs=outputs, domain=domain)
        node.metadata_props.update({LAYER: layer} if layer else {})
        for value in node.outputs:
            self._count += 1
            value.name = f"{PREFIX}{self._count}"
        place(node)
        return node.outputs[0] if outputs == 1 else list(node.outputs)


def constant_of(value: Any) -> np.ndarray | None:
    """The numbers of a value that is an initializer of the graph, else None."""
    return value.const_value.numpy() if value is not None and value.is_initializer() else None


def attribute(node: Any, name: str, default: Any) -> Any:
    return node.attributes[name].value if name in node.attributes else default


def _float() -> Any:
    import onnx_ir as ir

    return ir.TensorType(ir.DataType.FLOAT)
