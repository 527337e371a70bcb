"""What a piece of a live stream costs exported: python tools/bench/export.py [--kinds lstm,mamba] [--piece 160] [--rounds 30]

The models of tools/bench/live.py, ten million parameters each, random weights, with a CTC head: from samples at 16 kHz to
log-probabilities, one stream, one thread. Milliseconds are medians of interleaved rounds of torch's step and onnxruntime's;
one model at a time is made, exported and timed. A piece is rounded up to whole periods, and to a size that has a graph.
Size is that of the folder; the export's seconds are those of this machine.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from encoders import widest
from live import OUTPUTS, RATE, milliseconds, model

from audiorec.config import parse
from audiorec.encoders import ENCODERS
from audiorec.export.check import Exported
from audiorec.export.onnx import SIZES, write_export
from audiorec.models import ModelConfig
from audiorec.text import train_tokenizer


def row(kind: str, piece_ms: float, rounds: int) -> str:
    """The table's row of one kind of encoder."""
    width, made = widest(lambda width: model(kind, width))
    config = parse(
        ModelConfig, {"encoder": {"kind": kind, "dim": width}, "heads": "ctc", "tokenizer": {"kind": "word"}}
    )
    words = " ".join(f"word{i}" for i in range(OUTPUTS - 2))
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        settings = write_export(Path(folder), made, "ctc", train_tokenizer("word", [words]), config)
        seconds = time.perf_counter() - start
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
        exported = Exported(folder)
    period = made.period
    count = -(-round(piece_ms * RATE / 1000) // period)
    if settings["steps"]:
        count = next((k for k in SIZES if k >= count), SIZES[-1])
    begin, x = torch.randn(1, made.first_feed) / 10, torch.randn(1, count * period) / 10
    _, *arrays = exported.run("begin", begin.numpy())
    _, _, state = made.step(begin[..., None])
    times: dict[str, list[float]] = {"torch": [], "onnx": []}

    def by_torch() -> None:
        nonlocal state
        y, _, state = made.step(x[..., None], None, state)
        made.head()(y)

    def by_onnx() -> None:
        nonlocal arrays
        _, arrays = exported.step(x.numpy(), arrays)

    for _ in range(rounds + 3):
        times["torch"].append(milliseconds(by_torch))
        times["onnx"].append(milliseconds(by_onnx))
    torch_ms, onnx_ms = (statistics.median(values[3:]) for values in times.values())
    heard, steps = 1000 * count * period / RATE, "any" if settings["steps"] is None else "fixed"
    cells = kind, width, f"{heard:g}", f"{torch_ms:.2f}", f"{onnx_ms:.2f}", f"{torch_ms / onnx_ms:.1f}"
    return (
        "| "
        + " | ".join(map(str, (*cells, f"{onnx_ms / heard:.4f}", steps, f"{size / 1e6:.1f}", f"{seconds:.0f}")))
        + " |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", default=",".join(sorted(set(ENCODERS.kinds) - {"stack"})))
    parser.add_argument("--piece", type=float, default=160, help="milliseconds")
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| model | dim | piece, ms | torch, ms | onnxruntime, ms | ratio | real-time factor | periods | MB | export, s |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    with torch.no_grad():
        for kind in options.kinds.split(","):
            print(row(kind, options.piece, options.rounds), flush=True)


if __name__ == "__main__":
    main()
