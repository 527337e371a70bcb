"""``export_sherpa``: a model as a folder that the stock sherpa-onnx package loads and streams."""

import math
from pathlib import Path
from typing import Any

import torch

from audiorec import __version__
from audiorec.audio.logmel import LogMel
from audiorec.audio.nemo import NemoMel
from audiorec.config import dump_yaml
from audiorec.decoders.lstm import LstmPredictor
from audiorec.decoders.stateless import StatelessPredictor
from audiorec.errors import UserError
from audiorec.export import sherpa_nemo as nemo
from audiorec.export.examples import ROWS
from audiorec.export.onnx import FORMAT, SETTINGS, kind_of, open_model
from audiorec.export.sherpa_check import EMBED, check, must_fit
from audiorec.export.sherpa_parts import (
    SCALE,
    Chunk,
    CtcChunk,
    Joined,
    LstmDecoder,
    LstmEncoder,
    StatelessDecoder,
    TransducerChunk,
    ZipformerCtc,
)
from audiorec.export.sherpa_readme import readme
from audiorec.export.sherpa_tdt import TdtChunk
from audiorec.export.trace import trace
from audiorec.export.weights import save_graphs
from audiorec.files import replacing_folder, write_text
from audiorec.models import AsrModel, delay_name, read_delays
from audiorec.models.transducer import TransducerHead
from audiorec.search import TransducerGreedySearch
from audiorec.text import UNKNOWN, Tokenizer
from audiorec.text.tokenizer import MARK

CHUNK = 16  # feature frames, 160 ms, of which the least multiple of an encoder's period is taken
HISTORY = 128  # symbols that an LSTM predictor reads
ITS_FRAME = 0.04  # seconds: what sherpa-onnx takes a frame for


def export_sherpa(
    path: Path | str,
    out: Path | str,
    head: str | None = None,
    latency_ms: float | None = None,
    language: str | None = None,
) -> dict[str, Any]:
    """Export the model, or run, at ``path`` to the folder ``out``, whole or not at all; what ``export.yaml`` there says.

    On Kaldi's features CTC, and the search of a TDT, go through the interface of icefall's Zipformer with CTC, other transducers
    through that of its ``lstm``; on NeMo's both go through NeMo's. Before it takes its place the export is called as sherpa-onnx
    calls it, and held to torch's numbers. Raises UserError for what this runtime cannot do, with what works instead.
    """
    model, name, tokenizer, _ = open_model(path, out, head, latency_ms, language)
    refuse(model, name)
    tokens = tokens_text(tokenizer, blank_last=isinstance(model.features, NemoMel))
    delay = read_delays(path).get(delay_name(name, model.look_ahead_ms))
    with replacing_folder(out) as aside:
        settings = write_sherpa(aside, model.eval(), name, tokenizer, delay.tail if delay else 0.0)
        write_text(aside / "tokens.txt", tokens)
        settings["error"] = check(aside, settings, model, name)
    return settings


def refuse(model: AsrModel, name: str) -> None:
    """Raise UserError for what no interface of sherpa-onnx fits."""
    others = [other for other, one in model.heads.items() if not one.names_labels and other != name]
    instead = f"--head {others[0]} fits, and so does --format onnx" if others else "--format onnx has it"
    head: Any = model.head(name)
    if head.names_labels:
        raise UserError(f"export: sherpa-onnx has no streaming interface for labels (head {name!r}); {instead}")
    if isinstance(head, TransducerHead) and not isinstance(head.predictor, (StatelessPredictor, LstmPredictor)):
        raise UserError(
            f"export: sherpa-onnx has no interface for this predictor of head {name!r}: it must be stateless or lstm; {instead}"
        )
    if type(model.features) not in (LogMel, NemoMel):
        raise UserError(
            "export: sherpa-onnx computes features itself, those of kind log_mel or nemo, not "
            f"{type(model.features).__name__}; --format onnx holds any"
        )
    if isinstance(model.features, NemoMel) and model.sample_rate != 16000:
        raise UserError(
            f"export: sherpa-onnx has features of NeMo at 16000 Hz, not {model.sample_rate}; --format onnx takes it"
        )
    if isinstance(model.features, NemoMel) and _is_transducer(head) and head.search().max_symbols != nemo.MAX_SYMBOLS:
        raise UserError(
            f"export: sherpa-onnx emits up to {nemo.MAX_SYMBOLS} symbols a frame on NeMo's features, and head {name!r} one; "
            f"{instead}"
        )
    if model.sample_rate % 200:  # else it rounds the lengths of windows and hops in another way
        raise UserError(
            f"export: sherpa-onnx needs a features.sample_rate that is a multiple of 200, not {model.sample_rate}; "
            "--format onnx takes it"
        )


def tokens_text(tokenizer: Tokenizer, blank_last: bool = False) -> str:
    """``tokens.txt`` as sherpa-onnx reads it: ``piece id``, "▁" where a word starts. Raises UserError where it could not.

    ``blank_last``: every id is one less, and the blank's the last, as NeMo has it.
    """
    seen: dict[str, int] = {}
    for index, piece in enumerate(tokenizer.pieces):
        if piece.split() != [piece]:
            raise UserError(
                f"export: piece {index}, {piece!r}, has white space, which sherpa-onnx cannot read; use --format onnx"
            )
        if piece in seen:
            raise UserError(
                f"export: pieces {seen[piece]} and {index} are both {piece!r}, which sherpa-onnx refuses; use --format onnx"
            )
        seen[piece] = index
    if (
        tokenizer.kind == "word"
    ):  # a transducer's <unk> would be left out there; as a word it is said, as audiorec says it
        seen = {MARK + piece if index == UNKNOWN else piece: index for piece, index in seen.items()}
    if blank_last:
        seen = {piece: (index - 1) % len(seen) for piece, index in [*list(seen.items())[1:], next(iter(seen.items()))]}
    return "".join(f"{piece} {index}\n" for piece, index in seen.items())


def write_sherpa(folder: Path, model: AsrModel, name: str, tokenizer: Tokenizer, tail: float = 0.0) -> dict[str, Any]:
    """Write the graphs, ``export.yaml`` and README.md of this head of ``model``, which is in evaluation mode.

    ``tail``: seconds of silence that it needs after the last word, as measured.
    """
    encoder: Any = model.body
    head: Any = model.head(name)
    features: Any = model.features
    size = math.ceil(CHUNK / encoder.period) * encoder.period
    transducer, of_nemo = _is_transducer(head), isinstance(features, NemoMel)
    chunk = (TransducerChunk if transducer else TdtChunk if isinstance(head, TransducerHead) else CtcChunk)(
        model, head, size
    )
    write = {
        (False, False): _write_ctc,
        (True, False): _write_transducer,
        (False, True): _write_nemo_ctc,
        (True, True): _write_nemo_transducer,
    }[transducer, of_nemo]
    before = nemo.BEFORE if of_nemo else 0.0
    settings: dict[str, Any] = {
        "format": FORMAT,
        "kind": "sherpa-onnx",
        "producer": f"audiorec {__version__}",
        "sample_rate": model.sample_rate,
        "feature_dim": features.output_dim,
        "chunk": size,
        "frame_seconds": model.frame_seconds,
        # A chunk is computed when the feature after it is there, which needs 17.5 ms from its place on.
        "latency_ms": 10.0 * (size + encoder.lookahead) + 17.5 - 1000 * before,
        "late_frames": late_frames(encoder, size),
        "sample_scale": SCALE if of_nemo else 1,
        "silence_before": before,
        "tail_seconds": math.ceil((size + encoder.lookahead + 3) / 10 + 10 * tail) / 10,
        "look_ahead_ms": model.look_ahead_ms,
        "language": model.language,
        "vocabulary": tokenizer.size,
        "head": {"name": name, "kind": kind_of(head)},
        "slots": chunk.slots,
    }
    settings |= write(folder, head, chunk, tokenizer.size)
    its_frame = 0.01 * encoder.stride if transducer and of_nemo else ITS_FRAME
    settings["time_scale"] = model.frame_seconds / chunk.slots / its_frame
    write_text(folder / SETTINGS, dump_yaml(settings))
    write_text(folder / "README.md", readme(settings))
    return settings


def late_frames(encoder: Any, chunk: int) -> int:
    """Frames by which those of a stream are late: missing ones that stand before them."""
    chunks = math.ceil((encoder.lookahead + 1) / chunk) + 1
    return chunks * chunk // encoder.stride - encoder.ready(chunks * chunk)


def _is_transducer(head: Any) -> bool:
    """Whether sherpa-onnx searches for it: a TDT's search lies in the graph, and says its symbols as CTC does."""
    return isinstance(head, TransducerHead) and not head.topology.durations


def _write_ctc(folder: Path, head: Any, chunk: Chunk, vocabulary: int) -> dict[str, Any]:
    batch = torch.export.Dim("batch")
    first, second = {0: batch}, {1: batch}
    sizes = (1, ROWS, chunk.state.size), (1, ROWS, 1, 1), (1, ROWS, 1), (1, ROWS, 1), (ROWS, 2, 1), (ROWS, 2, 1)
    states = [torch.zeros(size) for size in (*sizes, (ROWS, *EMBED))] + [torch.zeros(ROWS, dtype=torch.int64)]
    x = torch.randn(ROWS, chunk.chunk, chunk.bins)
    graph = trace(ZipformerCtc(chunk), [x, *states], [first, *[second] * 4, *[first] * 4])
    metadata = {
        "T": chunk.chunk,
        "decode_chunk_len": chunk.chunk,
        "query_head_dims": chunk.state.size,
        **dict.fromkeys(("value_head_dims", "num_heads", "num_encoder_layers", "left_context_len"), 1),
        **dict.fromkeys(("encoder_dims", "cnn_module_kernels"), 2),
    }
    _save(folder, "zipformer2_ctc", {"model": graph}, {"model": metadata})
    return {"interface": "zipformer2_ctc"}


def _write_transducer(folder: Path, head: TransducerHead, chunk: Chunk, vocabulary: int) -> dict[str, Any]:
    decoder = StatelessDecoder(head) if isinstance(head.predictor, StatelessPredictor) else LstmDecoder(head, HISTORY)
    batch = torch.export.Dim("batch")
    rows, second = {0: batch}, {1: batch}
    h, c = torch.zeros(1, ROWS, chunk.state.size), torch.zeros(1, ROWS, 1)
    x = torch.randn(ROWS, chunk.chunk, chunk.bins)
    y = torch.tensor([[-1] * (decoder.context - 1) + [i] for i in range(ROWS)])
    width = head.joiner.encoder_proj.out_features
    graphs = {
        "encoder": trace(LstmEncoder(chunk), [x, h, c], [rows, second, second]),
        "decoder": trace(decoder, [y], [rows]),
        "joiner": trace(Joined(head), [torch.randn(ROWS, width + 1), torch.randn(ROWS, width)], [rows, rows]),
    }
    metadata: dict[str, dict[str, Any]] = {
        "encoder": {
            "model_type": "lstm",
            "num_encoder_layers": 1,
            "T": chunk.chunk,
            "decode_chunk_len": chunk.chunk,
            "d_model": chunk.state.size,
            "rnn_hidden_size": 1,
        },
        "decoder": {"vocab_size": vocabulary, "context_size": decoder.context},
        "joiner": {},
    }
    _save(folder, "lstm", graphs, metadata)
    search = head.search()
    assert isinstance(search, TransducerGreedySearch)
    exact = None if isinstance(decoder, StatelessDecoder) else HISTORY
    return {"interface": "lstm", "max_symbols": search.max_symbols, "history": exact}


def _write_nemo_ctc(folder: Path, head: Any, chunk: Chunk, vocabulary: int) -> dict[str, Any]:
    graph, metadata = nemo.encoder_graph(chunk), nemo.encoder_metadata(chunk, vocabulary)
    _save(folder, "nemo_ctc", {"model": graph}, {"model": metadata})
    return {"interface": "nemo_ctc"}


def _write_nemo_transducer(folder: Path, head: TransducerHead, chunk: Chunk, vocabulary: int) -> dict[str, Any]:
    decoder = nemo.NemoDecoder(head)
    graphs = {
        "encoder": nemo.encoder_graph(chunk),
        "decoder": nemo.decoder_graph(decoder),
        "joiner": nemo.joiner_graph(head),
    }
    read_of_encoder = nemo.encoder_metadata(chunk, vocabulary) | nemo.decoder_metadata(decoder)
    _save(folder, "nemo_transducer", graphs, {"encoder": read_of_encoder, "decoder": {}, "joiner": {}})
    return {"interface": "nemo_transducer", "max_symbols": nemo.MAX_SYMBOLS, "history": None}


def _save(folder: Path, interface: str, graphs: dict[str, Any], metadata: dict[str, dict[str, Any]]) -> None:
    for name, graph in graphs.items():
        must_fit(interface, name, graph, metadata[name])
        graph.metadata_props.update({key: str(value) for key, value in metadata[name].items()})
    save_graphs(folder, graphs)


__all__ = ["export_sherpa", "late_frames", "refuse", "tokens_text", "write_sherpa"]
