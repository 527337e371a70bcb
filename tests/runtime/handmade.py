"""Exported folders made by hand: small graphs in the form of FORMAT, and the same model in numpy, whole.

A frame is 80 samples and sees 160; it adds to a running sum, so that a state is lost at no border without a word that differs.
"""

from pathlib import Path

import numpy as np
import pytest
import yaml

from audiorec.runtime.search import CtcGreedySearch, TdtGreedySearch, TransducerGreedySearch
from audiorec.text import train_tokenizer

pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")
TensorProto, helper, numpy_helper = onnx.TensorProto, onnx.helper, onnx.numpy_helper
WORDS = "zero one two three four five six seven eight nine"
RATE, STRIDE, PERIOD, FIRST = 8000, 80, 160, 240
DIM, DURATIONS = 12, (0, 1, 2)  # 12: as many as the tokenizer has pieces
REAL, WHOLE = TensorProto.FLOAT, TensorProto.INT64


def weights(kind: str) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(4)
    outputs = DIM + (len(DURATIONS) if kind == "tdt" else 0)
    bias = np.zeros(outputs, np.float32)
    bias[0] = {"ctc": 1, "rnnt": 8, "tdt": 5}[kind]
    return {
        "wave": (30 * draw.standard_normal((160, DIM)) / 160**0.5).astype(np.float32),
        "symbol": draw.standard_normal((DIM, DIM)).astype(np.float32),
        "before": draw.standard_normal((DIM, DIM)).astype(np.float32),
        "out": (2 * draw.standard_normal((DIM, outputs))).astype(np.float32),
        "bias": bias,
    }


class Graph:
    """Nodes one by one; a name for each value."""

    def __init__(self, tensors: dict[str, np.ndarray]):
        self.tensors, self.nodes = dict(tensors), []

    def add(self, kind: str, *inputs, to: str | None = None, **attributes) -> str:
        names = [self.value(x) for x in inputs]
        to = to or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, names, [to], **attributes))
        return to

    def value(self, x) -> str:
        if isinstance(x, str):
            return x
        name = f"c{len(self.tensors)}"
        self.tensors[name] = np.array(x, np.int64)
        return name

    def part(self, x: str, start: int, end: int, axis: int = 1, to: str | None = None) -> str:
        return self.add("Slice", x, [start], [end], [axis], to=to)

    def save(self, path: Path, inputs: dict[str, tuple], outputs: dict[str, tuple]) -> None:
        def info(values: dict) -> list:
            return [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in values.items()]

        used = {name for node in self.nodes for name in node.input}
        initial = [numpy_helper.from_array(array, name) for name, array in self.tensors.items() if name in used]
        graph = helper.make_graph(self.nodes, path.stem, info(inputs), info(outputs), initial)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


MOST = 1 << 40


def encoder(kind: str, path: Path, begins: bool, ends: bool, first: int = FIRST, period: int = PERIOD) -> None:
    """One of begin, step, end, short."""
    g = Graph(weights(kind))
    x = "samples" if begins else g.add("Concat", "state.tail", "samples", axis=1)
    if ends:
        x = g.add("Pad", x, [0, 0, 0, STRIDE])
    else:
        g.part(x, -STRIDE, MOST, to="state.tail" if begins else "next.tail")
    halves = [g.add("Reshape", g.part(x, *ends_at), [0, -1, STRIDE]) for ends_at in ((0, -STRIDE), (STRIDE, MOST))]
    y = g.add("MatMul", g.add("Concat", *halves, axis=2), "wave")
    if not begins:
        y = g.add("Concat", g.add("Unsqueeze", "state.total", [1]), y, axis=1)
    y = g.add("CumSum", y, np.array(1))
    y = y if begins else g.part(y, 1, MOST)
    if not ends:
        last = g.part(y, -1, MOST)
        g.add("Squeeze", last, [1], to="state.total" if begins else "next.total")
    y = g.add("Sin", y)
    g.add("LogSoftmax", g.add("Add", "bias", g.add("Mul", y, g.add("Add", y, y))), to="frames", axis=-1) if (
        kind == "ctc"
    ) else g.add("Identity", y, to="frames")
    inputs: dict[str, tuple] = {"samples": (REAL, ["batch", first if begins else (period if ends else "time")])}
    outputs: dict[str, tuple] = {"frames": (REAL, ["batch", None, DIM])}
    if ends:
        inputs["lengths"] = WHOLE, ["batch"]
        held = "lengths" if begins else g.add("Add", "lengths", STRIDE)
        g.add("Div", g.add("Add", held, STRIDE - 1), STRIDE, to="counts")
        outputs["counts"] = WHOLE, ["batch"]
    state = {"tail": (REAL, ["batch", STRIDE]), "total": (REAL, ["batch", DIM])}
    if not begins:
        inputs |= {f"state.{name}": value for name, value in state.items()}
    if not ends:
        outputs |= {f"{'state' if begins else 'next'}.{name}": value for name, value in state.items()}
    g.save(path, inputs, outputs)


def predictor_and_joiner(kind: str, folder: Path) -> None:
    g, w = Graph(weights(kind)), weights(kind)
    now = g.add("Gather", "symbol", "symbols")
    g.add("Add", now, g.add("Gather", "before", "state.layer0.last"), to="read")
    g.add("Identity", "symbols", to="next.layer0.last")
    row, symbols = (REAL, ["batch", DIM]), (WHOLE, ["batch"])
    inputs, outputs = {"symbols": symbols, "state.layer0.last": symbols}, {"read": row, "next.layer0.last": symbols}
    g.save(folder / "predictor.onnx", inputs, outputs)
    read = w["symbol"][:1] + w["before"][:1]
    np.savez(folder / "predictor.npz", **{"read": read, "state.layer0.last": np.zeros(1, np.int64)})
    g = Graph(w)
    both = g.add("Tanh", g.add("Add", "frames", g.add("Unsqueeze", "read", [1])))
    g.add("Add", g.add("MatMul", both, "out"), "bias", to="logits")
    frames = REAL, ["batch", "time", DIM]
    g.save(folder / "joiner.onnx", {"frames": frames, "read": row}, {"logits": (REAL, ["batch", "time", None])})


def make(folder: Path, kind: str = "ctc", steps: tuple[int, ...] = (0,)) -> Path:
    """Write a folder of this kind; ``steps``: the numbers of periods of a step that have a graph each, 0 for any."""
    folder.mkdir(parents=True)
    train_tokenizer("word", [WORDS]).save(folder)
    encoder(kind, folder / "begin.onnx", begins=True, ends=False)
    encoder(kind, folder / "end.onnx", begins=False, ends=True)
    encoder(kind, folder / "short.onnx", begins=True, ends=True)
    for size in steps:
        encoder(kind, folder / (f"step_{size}.onnx" if size else "step.onnx"), begins=False, ends=False)
    if kind != "ctc":
        predictor_and_joiner(kind, folder)
    facts = {
        "format": 1,
        "kind": "onnx",
        **{"sample_rate": RATE, "first_feed": FIRST, "period": PERIOD, "stride": STRIDE},
        **{"frame_seconds": STRIDE / RATE, "latency_ms": 20.0, "vocabulary": DIM},
        "head": {"name": kind, "kind": kind, "max_symbols": 3, "durations": list(DURATIONS) if kind == "tdt" else []},
        "normalize": {"case": "lower"},
        "state": [
            {"name": "tail", "shape": [STRIDE], "dtype": "float32"},
            {"name": "total", "shape": [DIM], "dtype": "float32"},
        ],
        "predictor_state": [] if kind == "ctc" else [{"name": "layer0.last", "shape": [], "dtype": "int64"}],
        **{"producer": "by hand", "opset": 17, "int8": False},
    }
    (folder / "export.yaml").write_text(yaml.safe_dump(facts))
    return folder


def frames_of(kind: str, samples: np.ndarray) -> np.ndarray:
    """The frames (1, T, DIM) of the whole audio (T,) at once."""
    w, count = weights(kind), -(-len(samples) // STRIDE)
    x = np.zeros((count + 1) * STRIDE, np.float32)
    x[: len(samples)] = samples
    blocks = x.reshape(-1, STRIDE)
    y = np.sin(np.cumsum(np.concatenate([blocks[:-1], blocks[1:]], 1) @ w["wave"], 0))[None]
    if kind == "ctc":
        y = 2 * y * y + w["bias"]
        y -= np.log(np.exp(y).sum(-1, keepdims=True))
    return y


def expected(kind: str, samples: np.ndarray) -> tuple[list[int], list[int], float]:
    """ids and frames of the whole audio (T,) at once, and the margin."""
    w, y = weights(kind), frames_of(kind, samples)
    if kind == "ctc":
        search = CtcGreedySearch()
    else:

        def predict(symbols, state):
            return w["symbol"][symbols] + w["before"][state["last"]], {"last": symbols}

        def join(frames, read):
            return np.tanh(frames + read[:, None]) @ w["out"] + w["bias"]

        parts = predict, join, w["symbol"][:1] + w["before"][:1], {"last": np.zeros(1, np.int64)}, 3
        search = TdtGreedySearch(*parts, DURATIONS) if kind == "tdt" else TransducerGreedySearch(*parts)
    (said,), state = search.step(y, None, search.initial_state(1))
    return said.ids, said.frames, float(state["margin"][0])
