"""Weights of 8 bits: a graph's products, LSTMs and GRUs computed by integers, so that no row depends on its neighbours.

A weight has one scale for each output. What it multiplies gets one for each row as it comes: ONNX's own dynamic quantisation
has one for the whole tensor, so that a stream's words would depend on the streams beside it. A recurrence's output lies between
−1 and 1, so its scale is fixed. Sums of integers are exact in any order.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from audiorec.export.rewriting import FLOAT, LAYER, MICROSOFT, UINT8, Op, Rewriting, attribute, constant_of

_SMALLEST = 4096  # numbers in a weight that is worth it
# Below this a product is faster in floats: turning its rows into bytes costs more than the product. Its weight is kept as bytes.
_FEW = 1 << 16
_TINY = 1e-20  # taken for the largest value of a row of zeros
_ZERO = 128  # the unsigned byte that stands for 0 in a row
_LARGEST = 127  # of a row's bytes, from their zero
# Of a weight's bytes: processors without VNNI add two products in 16 bits, which hold 2 · 255 · 64.
_WEIGHT = 64
_EXACT = "features"  # energies span nine decades, which no byte does


def quantise(model: Any, keep: Sequence[str] = ()) -> None:
    """Rewrite ``model``, an ``onnx_ir.Model``, all but the layers ``keep``, each a name or the beginning of one up to a dot."""
    model.opset_imports[MICROSOFT] = 1
    work = _Quantising(model.graph)
    for node in list(model.graph):
        if (name := node.metadata_props.get(LAYER)) and not any(within(name, one) for one in (*keep, _EXACT)):
            work.at = node
            getattr(work, node.op_type.lower(), lambda node: None)(node)
    work.finish()


def layers_of(model: Any) -> list[str]:
    """The names of the layers of a graph that ``quantise`` may change."""
    names = (node.metadata_props.get(LAYER) for node in model.graph if node.op_type in ("MatMul", "LSTM", "GRU"))
    return list(dict.fromkeys(name for name in names if name and not within(name, _EXACT)))


def within(layer: str, name: str) -> bool:
    """Whether ``layer`` is ``name``, or a part of it."""
    return f"{layer}.".startswith(f"{name}.")


def quantised(weight: np.ndarray, largest: int = _WEIGHT) -> tuple[np.ndarray, np.ndarray]:
    """``weight`` (…, K, N) as signed bytes up to ``largest``, and what one of them stands for in each column (…, 1, N)."""
    scales = np.maximum(np.abs(weight).max(-2, keepdims=True) / largest, _TINY).astype(np.float32)
    return np.rint(weight / scales).astype(np.int8), scales


class _Quantising(Rewriting):
    """One method for each kind of node."""

    def __init__(self, graph: Any):
        super().__init__(graph)
        self._rows: dict[Any, tuple[Any, Any]] = {}

    def matmul(self, node: Any) -> None:
        weight = constant_of(node.inputs[1])
        if weight is not None and weight.ndim in (2, 3) and weight.size >= _SMALLEST:
            self.replace(self._product(node.inputs[0], node.inputs[1].name, weight))

    def gemm(self, node: Any) -> None:
        weight = constant_of(node.inputs[1])
        scaled = any(attribute(node, name, 1.0) != 1 for name in ("alpha", "beta")) or attribute(node, "transA", 0)
        if weight is None or weight.size < _SMALLEST or scaled:
            return
        y = self._product(node.inputs[0], node.inputs[1].name, weight.T if attribute(node, "transB", 0) else weight)
        self.replace(self.op("Add", [y, node.inputs[2]]) if len(node.inputs) > 2 else y)

    def lstm(self, node: Any) -> None:
        gates, recurrence, bias, lengths = self._inputs(node)
        dim = recurrence[1].shape[0]
        both = self.constant(f"{node.inputs[1].name}.bias", bias[: 4 * dim] + bias[4 * dim :])
        open_and_new, thirds = self.integers(3 * dim, dim), self.integers(dim, dim, dim)

        def frame(op: Op, states: Sequence[Any], frames: Sequence[Any]) -> tuple[Sequence[Any], Any]:
            h, c = states
            total = op("Add", [self._recurrent(op, h, *recurrence, both), frames[0]])
            opens, new = op("Split", [total, open_and_new], 2, axis=-1)
            i, o, f = op("Split", [op("Sigmoid", [opens]), thirds], 3, axis=-1)
            c = op("Add", [op("Mul", [f, c]), op("Mul", [i, op("Tanh", [new])])])
            h = op("Mul", [o, op("Tanh", [c])])
            return self._held(op, [h, c], states, frames)

        self._over_time(node, gates, lengths, frame)

    def gru(self, node: Any) -> None:
        assert attribute(node, "linear_before_reset", 0) == 1, "a GRU whose reset comes before the product"
        x, recurrence, bias, lengths = self._inputs(node)
        dim = recurrence[1].shape[0]
        gates = self.op("Add", [x, self.constant(f"{node.inputs[1].name}.bias", bias[: 3 * dim])])
        after = self.constant(f"{node.inputs[2].name}.bias", bias[3 * dim :])
        open_and_new, halves = self.integers(2 * dim, dim), self.integers(dim, dim)

        def frame(op: Op, states: Sequence[Any], frames: Sequence[Any]) -> tuple[Sequence[Any], Any]:
            (h,) = states
            total = self._recurrent(op, h, *recurrence, after)
            opens_h, new_h = op("Split", [total, open_and_new], 2, axis=-1)
            opens_x, new_x = op("Split", [frames[0], open_and_new], 2, axis=-1)
            z, r = op("Split", [op("Sigmoid", [op("Add", [opens_x, opens_h])]), halves], 2, axis=-1)
            new = op("Tanh", [op("Add", [new_x, op("Mul", [r, new_h])])])
            h = op("Add", [new, op("Mul", [z, op("Sub", [h, new])])])
            return self._held(op, [h], states, frames)

        self._over_time(node, gates, lengths, frame)

    def _bytes(self, x: Any) -> tuple[Any, Any]:
        """The rows of x (…, K) as unsigned bytes, and what one of them stands for in each (…, 1)."""
        if x not in self._rows:
            largest = self.op("ReduceMax", [self.op("Abs", [x]), self.integers(-1)], keepdims=1)
            scale = self.op("Mul", [self.op("Max", [largest, self.number(_TINY)]), self.number(1 / _LARGEST)])
            # The cast cuts off what stands after the point, so with a half more it rounds.
            above = self.op("Add", [self.op("Div", [x, scale]), self.number(_ZERO + 0.5)])
            self._rows[x] = self.op("Cast", [above], to=UINT8), scale
        return self._rows[x]

    def _product(self, x: Any, name: str, weight: np.ndarray) -> Any:
        """x (…, K) times ``weight`` (K, N), or of as many matrices as x has."""
        if weight.ndim == 2 and weight.size < _FEW:
            return self.op("MatMul", [x, self._kept_as_bytes(name, weight)])
        taken, scale = self._bytes(x)
        if weight.ndim == 2:
            return self.op("Mul", [self._integers(self.op, taken, self.number(1), name, weight), scale])
        small, scales = quantised(weight)
        sums = self.op("MatMulInteger", [taken, self.constant(f"{name}.bytes", small), self._zero()])
        scales = self.op("Mul", [scale, self.constant(f"{name}.scales", scales)])
        return self.op("Mul", [self.op("Cast", [sums], to=FLOAT), scales])

    def _kept_as_bytes(self, name: str, weight: np.ndarray) -> Any:
        """``weight`` (K, N) near enough, as floats, which onnxruntime makes of the bytes when it opens the graph."""
        small, scales = quantised(weight, _LARGEST)
        floats = self.op("Cast", [self.constant(f"{name}.bytes", small)], to=FLOAT)
        return self.op("Mul", [floats, self.constant(f"{name}.scales", scales)])

    def _recurrent(self, op: Op, h: Any, name: str, weight: np.ndarray, bias: Any) -> Any:
        """h (B, K), between −1 and 1, times ``weight`` (K, N), and ``bias`` (N,)."""
        scale = self.number(1 / _LARGEST)
        return self._integers(op, op("QuantizeLinear", [h, scale, self._zero()]), scale, name, weight, bias)

    def _integers(self, op: Op, taken: Any, scale: Any, name: str, weight: np.ndarray, bias: Any = None) -> Any:
        """Bytes (…, K) of which one stands for ``scale``, times ``weight`` (K, N), as floats, and ``bias`` (N,)."""
        small, scales = quantised(weight)
        right = self.constant(f"{name}.bytes", small), self.constant(f"{name}.scales", scales[0])
        more = [] if bias is None else [None, bias]  # the zero of the weight, which is 0
        return op("MatMulIntegerToFloat", [taken, right[0], scale, right[1], self._zero(), *more], domain=MICROSOFT)

    def _zero(self) -> Any:
        return self.constant("rewritten.zero", np.uint8(_ZERO))

    def _inputs(self, node: Any) -> tuple[Any, tuple[str, np.ndarray], np.ndarray, Any]:
        """Of an LSTM or a GRU: the products of all frames (T, B, gates · D), the recurrence's name and weight, the biases, and
        lengths or None."""
        x, weight, recurrence, bias, lengths = node.inputs[:5]
        w, r, b = (constant_of(value) for value in (weight, recurrence, bias))
        assert w is not None and r is not None and b is not None and len(w) == 1, "a recurrence of one direction"
        return self._product(x, weight.name, w[0].T), (recurrence.name, r[0].T), b[0], lengths

    def _held(
        self, op: Op, after: Sequence[Any], before: Sequence[Any], frames: Sequence[Any]
    ) -> tuple[Sequence[Any], Any]:
        """A frame's states and output; past a row's length its states stay and its output is 0."""
        if len(frames) == 1:
            return after, after[0]
        said = op("Where", [frames[1], after[0], self.number(0)])
        return [op("Where", [frames[1], new, old]) for new, old in zip(after, before, strict=True)], said

    def _over_time(self, node: Any, gates: Any, lengths: Any, frame: Any) -> None:
        first = self.integers(0)
        states = [self.op("Squeeze", [state, first]) for state in node.inputs[5:7]]
        frames = [gates] if lengths is None else [gates, self.frames_within(lengths, gates)]
        *states, y = self.scan(states, frames, frame)
        self.replace(
            self.op("Unsqueeze", [y, self.integers(1)]), *(self.op("Unsqueeze", [state, first]) for state in states)
        )
