"""The README.md of an export: what its files are, and how a program calls them."""

from collections.abc import Mapping, Sequence
from typing import Any

_TEXT = """# A streaming recogniser as ONNX graphs

Written by {producer}. Audio: float32 in [−1, 1] at {sample_rate} Hz. Latency {latency_ms:g} ms, a frame every
{frame_ms:g} ms, a vocabulary of {vocabulary}. `export.yaml` says the same to programs.

A stream, of any number of rows, calls

1. `begin.onnx` with its first {first_feed} samples: `samples` → `frames` and the state, one output a tensor;
2. {step} with each {period} samples after them, or a multiple of that{sizes}, and the state → `frames` and
   the next state. `next.NAME` goes in as `state.NAME`;
3. `end.onnx` with what is left: up to {period} samples a row, zeros after them, `lengths` that count them, and the
   state → the last `frames`, of which `counts` are each row's.

One that ends within its first {first_feed} samples calls `short.onnx` alone. The graphs hold features, encoder and
head; large tensors stand once in `weights.bin`, so keep the files side by side.

{head} Ids are spelled by `tokens.txt` or `tokenizer.model`.
{latencies}"""
_LATENCIES = """
## Latencies

The look-ahead of the attention is chosen when a stream begins. The graphs above are those of {default:g} ms; those of another
number of ms are named after it, as in `begin@{other:g}.onnx`, and read the same weights. They take

| look-ahead, ms | latency, ms | first samples | then |
|---:|---:|---:|---:|
{rows}

`audiorec transcribe FOLDER FILE --latency-ms {other:g}`, or `audiorec.load(FOLDER).at_latency({other:g})`.
"""
_CTC = "`frames` are log-probabilities (rows, frames, vocabulary); 0 is the blank."
_CLASSIFY = "The mean of all `frames` (rows, frames, vocabulary) are the logits of the recording's class; 0 is no word."
_TRANSDUCER = """`frames` are what the joiner reads of the encoder. `joiner.onnx` takes `frames` (N, T, J) and
`read` (N, J), what it reads of the symbols so far, and gives `logits` (N, T, {outputs}); 0 is the blank. `predictor.onnx`
takes the `symbols` (N,) that were emitted and the predictor's state, and gives the next `read` and state; `predictor.npz`
holds those before any symbol. A frame emits {max_symbols} symbols at most."""
_FRAMES = "`frames` are log-probabilities (rows, frames, vocabulary) of each frame's label; 0 is no label."
_HEADS = {"ctc": _CTC, "classify": _CLASSIFY, "frames": _FRAMES}


def readme(settings: Mapping[str, Any]) -> str:
    """The text for an export of these settings."""
    head = settings["head"]
    durations = head.get("durations", [])
    outputs = f"vocabulary, then the durations {durations}" if durations else "vocabulary"
    sizes = settings["steps"]
    return _TEXT.format(
        **{key: value for key, value in settings.items() if key not in ("head", "latencies")},
        head=_HEADS.get(head["kind"], _TRANSDUCER).format(outputs=outputs, **head),
        frame_ms=1000 * settings["frame_seconds"],
        step="`step_K.onnx`" if sizes else "`step.onnx`",
        latencies=_latencies(settings.get("latencies", [])),
        sizes=f" by K = {', '.join(map(str, sizes))}" if sizes else "",
    )


def _latencies(several: Sequence[Mapping[str, Any]]) -> str:
    if not several:
        return ""
    row = "| {look_ahead_ms:g} | {latency_ms:g} | {first_feed} | {period} |"
    rows = "\n".join(row.format(**one) for one in several)
    return _LATENCIES.format(default=several[0]["look_ahead_ms"], other=several[-1]["look_ahead_ms"], rows=rows)
