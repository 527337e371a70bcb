"""``Exported``, a bare stream of an export's encoder in onnxruntime, and the check that it gives torch's numbers: law 7."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from audiorec.config import read_yaml
from audiorec.errors import UserError
from audiorec.export.graphs import scores
from audiorec.models import AsrModel
from audiorec.runtime.folder import suffix

TOLERANCE = 1e-4  # of the largest value


def open_session(path: Path, threads: int = 1) -> Any:
    """The graph in onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


class Exported:
    """The graphs of an export in onnxruntime, at its default latency or another. Samples are (B, T) float32, a state is a list
    of arrays."""

    def __init__(self, folder: Path | str, threads: int = 1, look_ahead_ms: float | None = None):
        self.settings: dict[str, Any] = read_yaml(Path(folder) / "export.yaml")
        ours = "" if look_ahead_ms is None else suffix(look_ahead_ms, self.settings["look_ahead_ms"])
        if ours:
            self.settings |= next(one for one in self.settings["latencies"] if one["look_ahead_ms"] == look_ahead_ms)
        paths = {path.stem: path for path in sorted(Path(folder).glob("*.onnx"))}
        named = {name.removesuffix(ours): path for name, path in paths.items() if name.endswith(ours)}
        self.sessions = {name: open_session(path, threads) for name, path in named.items() if "@" not in name}
        self.inputs = {name: [x.name for x in session.get_inputs()] for name, session in self.sessions.items()}

    def run(self, graph: str, *arrays: np.ndarray) -> list[np.ndarray]:
        """The outputs of a graph from its inputs, both in its order."""
        return self.sessions[graph].run(None, dict(zip(self.inputs[graph], arrays, strict=True)))

    def step(self, samples: np.ndarray, state: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        """Frames and the next state of any number of whole periods, in as few steps as there are graphs for."""
        period, parts = self.settings["period"], []
        sizes = self.settings["steps"]
        while samples.shape[1]:
            count = samples.shape[1] // period
            k = max(size for size in sizes if size <= count) if sizes else count
            frames, *state = self.run(f"step_{k}" if sizes else "step", samples[:, : k * period], *state)
            parts.append(frames)
            samples = samples[:, k * period :]
        return np.concatenate(parts, 1), state

    def stream(self, samples: np.ndarray, lengths: np.ndarray, periods: list[int]) -> list[np.ndarray]:
        """Each row's frames (T', C), streamed: the first feed, then so many periods a step, then each row's own end.

        ``samples`` (B, T), zeros past ``lengths`` (B,), which differ by less than a period, or are all below the first feed.
        """
        first, period = self.settings["first_feed"], self.settings["period"]
        if lengths.max() < first:
            frames, counts = self.run("short", _padded(samples[:, :first], first), lengths)
            return [row[:n] for row, n in zip(frames, counts, strict=True)]
        frames, *state = self.run("begin", samples[:, :first])
        parts, at = [frames], first
        for k in periods:
            frames, state = self.step(samples[:, at : at + k * period], state)
            parts.append(frames)
            at += k * period
        last, counts = self.run("end", _padded(samples[:, at : at + period], period), lengths - at, *state)
        whole = np.concatenate(parts, 1)
        return [np.concatenate([row, end[:n]]) for row, end, n in zip(whole, last, counts, strict=True)]


def _padded(samples: np.ndarray, size: int) -> np.ndarray:
    return np.pad(samples, ((0, 0), (0, size - samples.shape[1])))


class Programs(Exported):
    """The same of torch.export's programs, as ``torch.export.load`` reads them."""

    def __init__(self, folder: Path | str):
        self.settings = read_yaml(Path(folder) / "export.yaml")
        self.programs = {path.stem: torch.export.load(path).module() for path in sorted(Path(folder).glob("*.pt2"))}

    def run(self, graph: str, *arrays: np.ndarray) -> list[np.ndarray]:
        with torch.no_grad():
            given = self.programs[graph](*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))
        return [tensor.numpy() for tensor in given]


def noise(random: np.random.Generator, lengths: np.ndarray, loudness: Any) -> np.ndarray:
    """(B, T) float32: rows of these lengths (B,) and loudnesses, one or (B, 1), zeros past their ends."""
    samples = random.standard_normal((len(lengths), lengths.max())).astype(np.float32) * loudness
    samples[np.arange(lengths.max()) >= lengths[:, None]] = 0
    return samples


def relative_error(given: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference over the largest value expected. Raises UserError where the shapes differ."""
    if given.shape != expected.shape:
        raise UserError(f"export: gives {given.shape} in place of {expected.shape}; not exported")
    return float(np.abs(given - expected).max(initial=0) / max(np.abs(expected).max(initial=0), 1e-3))


@torch.no_grad()
def largest_error(
    exported: Exported, model: AsrModel, name: str, rows: int, periods: list[int], seed: int = 0
) -> float:
    """The largest difference, over the largest value, of noise streamed through the export from the whole of it in torch.

    Rows end anywhere within a period after ``periods``; those of as many streams again within the first feed.
    """
    random = np.random.default_rng(seed)
    first, period = model.first_feed, model.period
    sure = first + sum(periods) * period
    worst = 0.0
    for lengths in (sure + random.integers(0, period + 1, rows), random.integers(1, first, rows)):
        samples = noise(random, lengths, 0.1)
        y, counts = model(torch.from_numpy(samples), torch.from_numpy(lengths))
        expected = scores(model.head(name), y).numpy()
        for row, n, given in zip(expected, counts.tolist(), exported.stream(samples, lengths, periods), strict=True):
            worst = max(worst, relative_error(given, row[:n]))
    return worst


def short_stream_error(exported: Exported, model: AsrModel, name: str) -> float:
    """The largest error of a short stream, alone and among others."""
    return max(largest_error(exported, model, name, rows, [1, 3]) for rows in (1, 3))


def check(exported: Exported, model: AsrModel, name: str) -> float:
    """The largest error of a short stream. Raises UserError where it breaks law 7: exported = streamed = offline."""
    error = short_stream_error(exported, model, name)
    if not error <= TOLERANCE:
        raise UserError(
            f"export: the exported frames differ from torch's by {error:.1e} of the largest value; not exported"
        )
    return error
