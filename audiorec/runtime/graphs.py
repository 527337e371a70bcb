"""``Graphs``: the graphs of an exported folder as functions of arrays, checked against what ``export.yaml`` says of them."""

import copy
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from audiorec.errors import UserError
from audiorec.runtime.folder import Export, Leaf
from audiorec.runtime.state import State

_ONLY_ERRORS = 3
# Run once a stream: they read the weights from the mapped file, in place of a copy laid out for speed.
_ONCE = "begin", "end", "short"


class Graphs:
    """``begin``, ``step``, ``end`` and ``short`` of the encoder; ``predict`` and ``join`` of a transducer. Batch first.

    Raises UserError naming the file that is missing, damaged, or not of this export.
    """

    def __init__(self, folder: Path, export: Export, threads: int):
        self.export = export
        self._folder = folder
        try:
            import onnxruntime
        except ModuleNotFoundError:
            raise UserError("onnxruntime is not installed; pip install 'audiorec-speech[runtime]'") from None
        self._make, self._options = onnxruntime.InferenceSession, onnxruntime.SessionOptions
        self._threads = threads
        self._open_encoder()
        if export.head.kind in ("rnnt", "tdt"):
            names = [leaf.name for leaf in export.predictor_state]
            inputs = ["symbols", *(f"state.{name}" for name in names)]
            self._predictor = self._open("predictor", inputs, ["read", *(f"next.{name}" for name in names)])
            self._joiner = self._open("joiner", ["frames", "read"], ["logits"])

    def at(self, export: Export) -> "Graphs":
        """Those of another latency of the folder: the encoder's are opened, the others are the same."""
        view = copy.copy(self)
        view.export = export
        view._open_encoder()
        return view

    def _open_encoder(self) -> None:
        self._shapes, end = _shapes(self.export), self.export.suffix
        states = [leaf.name for leaf in self.export.state]
        before, after = [f"state.{name}" for name in states], [f"next.{name}" for name in states]
        self._begin = self._open("begin", ["samples"], ["frames", *before], end)
        self._steps = self._open_steps(["samples", *before], ["frames", *after], end)
        self._end = self._open("end", ["samples", "lengths", *before], ["frames", "counts"], end)
        self._short = self._open("short", ["samples", "lengths"], ["frames", "counts"], end)

    def begin(self, samples: np.ndarray) -> tuple[np.ndarray, State]:
        """samples (B, first_feed) → frames (B, T, C), and the state."""
        frames, *state = self._begin.run(None, {"samples": samples})
        return frames, self._named(state)

    def step(self, samples: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """samples (B, k · period), state → frames, next state."""
        period, found, at = self.export.period, [], 0
        while at < samples.shape[1]:
            periods = (samples.shape[1] - at) // period
            known = max(size for size in self._steps if size <= periods)  # 0: any number
            size = period * (known or periods)
            session, piece = self._steps[known], np.ascontiguousarray(samples[:, at : at + size])
            frames, *after = session.run(None, {"samples": piece, **_given(state)})
            state, at = self._named(after), at + size
            found.append(frames)
        return found[0] if len(found) == 1 else np.concatenate(found, 1), state

    def end(self, samples: np.ndarray, lengths: np.ndarray, state: State) -> tuple[np.ndarray, np.ndarray]:
        """samples (B, period), of which lengths (B,) are valid; state → the last frames (B, T, C), and their counts (B,)."""
        return self._end.run(None, {"samples": samples, "lengths": lengths, **_given(state)})

    def short(self, samples: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """samples (B, first_feed), of which lengths (B,), fewer, are valid → all frames (B, T, C), and their counts (B,)."""
        return self._short.run(None, {"samples": samples, "lengths": lengths})

    def predict(self, symbols: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """One more symbol (N,) of each history, the predictor's state → what the joiner reads (N, J), the next state."""
        read, *after = self._predictor.run(None, {"symbols": symbols, **_given(state)})
        return read, {leaf.name: array for leaf, array in zip(self.export.predictor_state, after, strict=True)}

    def join(self, frames: np.ndarray, read: np.ndarray) -> np.ndarray:
        """frames (N, T, J), read (N, J) → logits (N, T, outputs)."""
        return self._joiner.run(None, {"frames": frames, "read": read})[0]

    def no_symbols(self) -> tuple[np.ndarray, State]:
        """What the joiner reads (1, J) of a history without symbols, and its state."""
        path = self._folder / "predictor.npz"
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except FileNotFoundError:
            raise UserError(f"{path}: missing; export the model again") from None
        except Exception as error:  # zip files have many ways to be broken
            raise UserError(f"{path}: damaged ({_line(error)}); export the model again") from None
        _compare(path, "arrays", sorted(arrays), sorted(["read", *self._names_of(self.export.predictor_state)]))
        return arrays["read"], {leaf.name: arrays[f"state.{leaf.name}"] for leaf in self.export.predictor_state}

    def _named(self, arrays: Sequence[np.ndarray]) -> State:
        return {leaf.name: array for leaf, array in zip(self.export.state, arrays, strict=True)}

    @staticmethod
    def _names_of(leaves: Sequence[Leaf]) -> list[str]:
        return [f"state.{leaf.name}" for leaf in leaves]

    def _open_steps(self, inputs: list[str], outputs: list[str], end: str) -> dict[int, Any]:
        """Number of periods → the graph for it; 0: for any number."""
        if (whole := self._folder / f"step{end}.onnx").exists():
            return {0: self._open("step", inputs, outputs, end)}
        named = re.compile(rf"step_([1-9]\d*){re.escape(end)}")
        found = (named.fullmatch(path.stem) for path in self._folder.glob("step_*.onnx"))
        sizes = sorted(int(match[1]) for match in found if match)
        if 1 not in sizes:
            raise UserError(f"{whole}: missing, and step_1{end}.onnx too; export the model again")
        return {size: self._open(f"step_{size}", inputs, outputs, end) for size in sizes}

    def _open(self, name: str, inputs: list[str], outputs: list[str], end: str = "") -> Any:
        """The graph in the file ``name`` and ``end``, with these inputs and outputs."""
        path = self._folder / f"{name}{end}.onnx"
        if not path.is_file():
            raise UserError(f"{path}: missing; export the model again")
        options = self._options()
        options.intra_op_num_threads, options.inter_op_num_threads = self._threads, 1
        options.log_severity_level = _ONLY_ERRORS
        if name in _ONCE:
            options.add_session_config_entry("session.disable_prepacking", "1")
        try:
            session = self._make(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # each fault of a file has a class of its own
            raise UserError(f"{path}: damaged, or its weights are ({_line(error)}); export the model again") from None
        _compare(path, "inputs", [value.name for value in session.get_inputs()], inputs)
        _compare(path, "outputs", [value.name for value in session.get_outputs()], outputs)
        for value in (*session.get_inputs(), *session.get_outputs()):
            if (shape := self._shapes.get((name, value.name))) and not _fits(value.shape[1:], shape):
                raise UserError(
                    f"{path}: {value.name} is {_shape(value.shape[1:])} a row, export.yaml makes it {_shape(shape)}: the files "
                    "are not of one export"
                )
        return session


def _given(state: State) -> dict[str, np.ndarray]:
    return {f"state.{name}": array for name, array in state.items()}


def _compare(path: Path, what: str, found: list[str], expected: list[str]) -> None:
    if found != expected:
        raise UserError(
            f"{path}: has {what} {', '.join(found)}; export.yaml makes them {', '.join(expected)}: the files are not of one "
            "export"
        )


def _shapes(export: Export) -> dict[tuple[str, str], tuple[int, ...]]:
    """(graph, value) → its shape without the batch, of those that export.yaml tells."""
    first, period = (export.first_feed,), (export.period,)
    shapes: dict[tuple[str, str], tuple[int, ...]]
    shapes = {("begin", "samples"): first, ("short", "samples"): first, ("end", "samples"): period}
    for leaf in export.state:
        shapes |= {("begin", f"state.{leaf.name}"): leaf.shape, ("end", f"state.{leaf.name}"): leaf.shape}
    shapes |= {("predictor", f"state.{leaf.name}"): leaf.shape for leaf in export.predictor_state}
    return shapes


def _fits(found: Sequence[int | str | None], shape: tuple[int, ...]) -> bool:
    """Whether a graph's axes, whose sizes may be open, may have this shape."""
    return len(found) == len(shape) and all(
        not isinstance(size, int) or size == wanted for size, wanted in zip(found, shape, strict=True)
    )


def _shape(sizes: Sequence[int | str | None]) -> str:
    return f"({', '.join('any' if not isinstance(size, int) else str(size) for size in sizes)})"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
