"""What an export for sherpa-onnx must be before it is handed out: metadata that fit its graphs, and torch's numbers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from audiorec.errors import UserError
from audiorec.export.check import TOLERANCE, open_session, relative_error
from audiorec.export.graphs import scores
from audiorec.export.sherpa_parts import Heard
from audiorec.models import AsrModel
from audiorec.models.transducer import TransducerHead

_ZIPFORMER = (
    "encoder_dims",
    "query_head_dims",
    "value_head_dims",
    "num_heads",
    "num_encoder_layers",
    "cnn_module_kernels",
)
_CACHES = [f"cache_last_{name}_dim{i}" for name in ("channel", "time") for i in (1, 2, 3)]
_NEMO = {"window_size", "chunk_shift", "subsampling_factor", "vocab_size", *_CACHES}
EMBED = 128, 3, 19  # sizes of the state of a Zipformer's subsampling, which are no metadata
# Interface → graph → the keys that sherpa-onnx 2.0.1 reads. One that is missing, or no number, ends its process.
KEYS: dict[str, dict[str, set[str]]] = {
    "zipformer2_ctc": {"model": {"T", "decode_chunk_len", "left_context_len", *_ZIPFORMER}},
    "lstm": {
        "encoder": {"model_type", "num_encoder_layers", "T", "decode_chunk_len", "d_model", "rnn_hidden_size"},
        "decoder": {"vocab_size", "context_size"},
        "joiner": set(),
    },
    "nemo_ctc": {"model": _NEMO},
    "nemo_transducer": {
        "encoder": _NEMO | {"normalize_type", "pred_rnn_layers", "pred_hidden"},
        "decoder": set(),
        "joiner": set(),
    },
}
_STRINGS = {"model_type": "lstm", "normalize_type": "NA"}
_NEMO_INPUTS = [(None, "bins", "window_size"), (None,), (None, *_CACHES[:3]), (None, *_CACHES[3:]), (None,)]
# Interface → graph → its inputs in order, each by its sizes: a key of the metadata, a number, None for the rows, "bins" for any.
_INPUTS: dict[str, dict[str, list[tuple[Any, ...]]]] = {
    "zipformer2_ctc": {
        "model": [
            (None, "T", "bins"),
            ("left_context_len", None, "query_head_dims"),
            (1, None, "left_context_len", 1),
            *[("left_context_len", None, "value_head_dims")] * 2,
            *[(None, "encoder_dims", 1)] * 2,
            (None, *EMBED),
            (None,),
        ]
    },
    "lstm": {
        "encoder": [
            (None, "T", "bins"),
            ("num_encoder_layers", None, "d_model"),
            ("num_encoder_layers", None, "rnn_hidden_size"),
        ],
        "decoder": [(None, "context_size")],
        "joiner": [(None, "bins"), (None, "bins")],
    },
    "nemo_ctc": {"model": _NEMO_INPUTS},
    "nemo_transducer": {
        "encoder": _NEMO_INPUTS,
        "decoder": [(None, 1), (None,), (1, None, "bins"), (1, None, "bins")],
        "joiner": [(None, "bins", 1), (None, "bins", 1)],
    },
}


def must_fit(interface: str, name: str, graph: Any, metadata: Mapping[str, Any]) -> None:
    """Hold the metadata of a graph, an ``onnx_ir.Model``, to what sherpa-onnx reads, and to the graph's own inputs.

    Raises UserError: the runtime would end the process of whoever loads it.
    """
    wanted = KEYS[interface][name]
    if set(metadata) != wanted:
        raise UserError(f"export: {name}.onnx: metadata {sorted(set(metadata) ^ wanted)} missing or foreign")
    for key, value in metadata.items():
        if value == _STRINGS[key] if key in _STRINGS else isinstance(value, int) and 1 <= value < 1 << 31:
            continue
        raise UserError(f"export: {name}.onnx: metadata {key}={value!r}: must be a whole number of at least 1")
    expected = _INPUTS[interface][name]
    if len(graph.graph.inputs) != len(expected):
        raise UserError(f"export: {name}.onnx: {len(graph.graph.inputs)} inputs, sherpa-onnx gives {len(expected)}")
    for value, sizes in zip(graph.graph.inputs, expected, strict=True):
        shape = [size if isinstance(size, int) else None for size in value.shape]
        asked = [metadata.get(size, size) if isinstance(size, str) else size for size in sizes]
        if len(shape) != len(asked) or any(a != "bins" and a != b for a, b in zip(asked, shape, strict=True)):
            raise UserError(f"export: {name}.onnx: input {value.name} is {shape}, its metadata say {asked}")


class Caller:
    """The graphs as sherpa-onnx calls them: inputs by position, states that begin as zeros of the metadata's sizes."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]):
        self.settings = settings
        self.sessions = {name: open_session(folder / f"{name}.onnx") for name in KEYS[settings["interface"]]}

    def run(self, name: str, *arrays: np.ndarray) -> list[np.ndarray]:
        session = self.sessions[name]
        return session.run(None, {x.name: array for x, array in zip(session.get_inputs(), arrays, strict=True)})

    def begin(self, rows: int) -> list[np.ndarray]:
        """The states of streams that have no chunk yet."""
        interface, name = self.settings["interface"], next(iter(self.sessions))
        says = self.sessions[name].get_modelmeta().custom_metadata_map
        given = 2 if self.nemo else 1  # inputs that are no states
        sizes = [[says.get(size, size) for size in sizes] for sizes in _INPUTS[interface][name][given:]]
        states = [np.zeros([rows if size is None else int(size) for size in shape], np.float32) for shape in sizes]
        return states if interface == "lstm" else [*states[:-1], states[-1].astype(np.int64)]

    @property
    def nemo(self) -> bool:
        return self.settings["interface"].startswith("nemo")

    def step(self, x: np.ndarray, state: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        """The frames (N, T', …) of a chunk of features (N, T, bins), with the blank first, and the next state."""
        name = next(iter(self.sessions))
        if not self.nemo:
            y, *state = self.run(name, x, *state)
            return y, state
        lengths = np.full(len(x), x.shape[1])
        y, _, *state = self.run(name, np.ascontiguousarray(x.transpose(0, 2, 1)), lengths, *state)
        return (np.roll(y, 1, -1) if name == "model" else y.transpose(0, 2, 1)), state

    def frames(self, features: np.ndarray) -> np.ndarray:
        """Frames (N, T', …) of features (N, T, bins), whole chunks."""
        chunk, parts, state = self.settings["chunk"], [], self.begin(len(features))
        for start in range(0, features.shape[1], chunk):
            y, state = self.step(np.ascontiguousarray(features[:, start : start + chunk]), state)
            parts.append(y)
        return np.concatenate(parts, 1)

    def reads(self, histories: list[np.ndarray]) -> list[np.ndarray]:
        """What the joiner reads (N, J) after each symbol (N,) of a history that the blank begins."""
        if self.nemo:
            return self._reads_of_nemo(histories)
        context = int(self.sessions["decoder"].get_modelmeta().custom_metadata_map["context_size"])
        y, found = np.full((len(histories[0]), context), -1), []
        for symbols in histories:
            y = np.concatenate([y[:, 1:], symbols[:, None]], 1)
            found += self.run("decoder", y)
        return found

    def _reads_of_nemo(self, histories: list[np.ndarray]) -> list[np.ndarray]:
        rows, vocabulary, found = len(histories[0]), self.settings["vocabulary"], []
        sizes = [x.shape[2] for x in self.sessions["decoder"].get_inputs()[2:]]
        state = [np.zeros((1, rows, size), np.float32) for size in sizes]
        for symbols in histories:
            last = ((symbols - 1) % vocabulary).astype(np.int32)[:, None]
            read, _, *state = self.run("decoder", last, np.ones(rows, np.int32), *state)
            found.append(read[..., 0])
        return found

    def joined(self, frame: np.ndarray, read: np.ndarray) -> np.ndarray:
        """The logits (N, V), with the blank first, of frames (N, J) that are there beside what was read."""
        frame = np.concatenate([frame, np.zeros((len(frame), 1), np.float32)], 1)
        if not self.nemo:
            return self.run("joiner", frame, read)[0]
        return np.roll(self.run("joiner", frame[..., None], read[..., None])[0][:, 0, 0], 1, -1)


@torch.no_grad()
def check(
    folder: Path, settings: Mapping[str, Any], model: AsrModel, name: str, rows: int = 3, chunks: int = 5
) -> float:
    """The largest error, over the largest value, of noise streamed as sherpa-onnx streams it, and of a transducer's parts.

    Raises UserError where it breaks the law: exported = offline.
    """
    caller = Caller(folder, settings)
    head: Any = model.head(name)
    late, chunk = settings["late_frames"], settings["chunk"]
    heard = Heard(model.features)
    features = torch.randn(rows, chunk * (chunks + late), settings["feature_dim"]) * 2 - 9 + heard.louder
    encoder: Any = model.body
    y, _ = encoder(heard(features))
    if settings["head"]["kind"] == "tdt":
        return _tdt_error(caller.frames(features.numpy()), settings, head.search(), y)
    expected = scores(head, y).numpy()
    given = caller.frames(features.numpy())
    known = given.shape[1] - late
    error = relative_error(given[:, late:, : expected.shape[2]], expected[:, :known])
    if isinstance(head, TransducerHead):
        if given[:, :late, -1].min(initial=1) != 1 or given[:, late:, -1].max() != 0:
            raise UserError("export: frames that are missing do not stand before the others; not exported")
        error = max(error, _transducer_error(caller, head, expected))
    elif late and given[:, :late].argmax(-1).any():
        raise UserError("export: frames that are missing do not stand before the others; not exported")
    if not error <= TOLERANCE:
        raise UserError(
            f"export: what sherpa-onnx would compute differs from torch by {error:.1e} of the largest value; not exported"
        )
    return error


def _tdt_error(given: np.ndarray, settings: Mapping[str, Any], search: Any, y: torch.Tensor) -> float:
    """0 where the search in the graph says what torch's says, if that is no tie. Raises UserError where it does not."""
    late, slots = settings["late_frames"], settings["slots"]
    known = given.shape[1] // slots - late
    tokens, state = search.step(y[:, :known], None, search.initial_state(len(y)))
    for i, margin in enumerate(state["margin"].tolist()):
        symbols = given[i].argmax(-1)
        places = symbols.nonzero()[0]
        said = symbols[places].tolist(), (places // slots - late).tolist()
        if said != tokens.row(i) and margin > TOLERANCE:
            raise UserError("export: the search in the graph does not say what torch's says; not exported")
    return 0.0


def _transducer_error(caller: Caller, head: TransducerHead, frames: np.ndarray) -> float:
    """The decoder's and the joiner's error after each symbol of rows of random histories."""
    rows, vocabulary, worst = len(frames), caller.settings["vocabulary"], 0.0
    count = min(caller.settings["history"] or 12, 12)
    histories = [torch.zeros(rows, dtype=torch.int64), *torch.randint(1, vocabulary, (count - 1, rows))]
    state = head.predictor.initial_state(rows)
    for i, read in enumerate(caller.reads([symbols.numpy() for symbols in histories])):
        state = head.predictor.step(histories[i], state) if i else state
        expected = head.joiner.predictor_proj(head.predictor.output(state))
        frame = frames[:, i % frames.shape[1]]
        joined = head.joiner(torch.from_numpy(frame), expected)
        logits = caller.joined(frame, read)
        worst = max(worst, relative_error(read, expected.numpy()), relative_error(logits, joined.numpy()))
    return worst
