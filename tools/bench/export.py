"""What a piece of a live stream costs exported: python tools/bench/export.py [--kinds lstm,mamba] [--piece 160] [--rounds 15]

The models of tools/bench/live.py, ten million parameters each, random weights, with a CTC head. A stream, `accept` of each
piece: features, encoder, greedy search and words; one thread. Torch, onnxruntime in float32 and with weights of 8 bits, and
the stock sherpa-onnx package with the same model in float32 take turns, four seconds of noise a round; milliseconds are
medians over the rounds of a round's mean, since an encoder of long periods computes in some pieces only. They are the
thread's own time, so that waiting for a busy machine is not counted. Sizes are those of folders. `--folders DIR` keeps the
exports there, and takes those that are there: then a second run only measures.
"""

import argparse
import gc
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from encoders import widest
from live import OUTPUTS, RATE, model
from stock import recognizer

import audiorec
from audiorec.config import parse
from audiorec.encoders import ENCODERS
from audiorec.export.onnx import write_export
from audiorec.export.quantised import quantise_folder
from audiorec.export.sherpa import tokens_text, write_sherpa
from audiorec.files import write_text
from audiorec.models import AsrModel, ModelConfig
from audiorec.text import Tokenizer, train_tokenizer

SECONDS = 4.16  # a round: whole periods of 40, 160 and 520 ms


def exported(kind: str, width: int, made: AsrModel, tokenizer: Tokenizer, folder: Path) -> list[Path]:
    """The folders of the export in float32 and in 8 bits, made where they are missing."""
    floats, small, stock = folders = [folder / name for name in ("float32", "int8", "sherpa-onnx")]
    if not (stock / "tokens.txt").exists():
        for one in folders:
            one.mkdir(parents=True, exist_ok=True)
        given = {"encoder": {"kind": kind, "dim": width}, "heads": "ctc", "tokenizer": {"kind": "word"}}
        write_export(floats, made, "ctc", tokenizer, parse(ModelConfig, given))
        quantise_folder(floats, small)
        write_sherpa(stock, made, "ctc", tokenizer)
        write_text(stock / "tokens.txt", tokens_text(tokenizer))
    return folders


class Stock:
    """A stream of the stock sherpa-onnx package."""

    def __init__(self, folder: Path):
        self.recognizer = recognizer(folder, "greedy_search")
        self.stream = self.recognizer.create_stream()

    def accept(self, samples: np.ndarray) -> None:
        self.stream.accept_waveform(RATE, samples)
        while self.recognizer.is_ready(self.stream):
            self.recognizer.decode_stream(self.stream)
        self.recognizer.get_result(self.stream)


def piece_ms(streams: list[Any], piece: int, rounds: int) -> list[float]:
    """Milliseconds of a piece of so many samples in each stream."""
    random = np.random.default_rng(0)
    count = round(SECONDS * RATE / piece)
    means: list[list[float]] = [[] for _ in streams]
    for _ in range(rounds + 1):
        samples = 0.1 * random.standard_normal((count, piece)).astype(np.float32)
        for spent, stream in zip(means, streams, strict=True):
            start = time.thread_time()
            for one in samples:
                stream.accept(one)
            spent.append(1000 * (time.thread_time() - start) / count)
    return [statistics.median(spent[1:]) for spent in means]


def row(kind: str, piece: int, rounds: int, folder: Path) -> str:
    """The table's row of one kind of encoder."""
    width, made = widest(lambda width: model(kind, width))
    tokenizer = train_tokenizer("word", [" ".join(f"word{i}" for i in range(OUTPUTS - 2))])
    folders = exported(kind, width, made, tokenizer, folder / kind)
    heard = 1000 * piece / RATE
    recognizers = [audiorec.Recognizer(made, tokenizer), *(audiorec.load(one) for one in folders[:2])]
    streams = [*(recognizer.stream() for recognizer in recognizers), Stock(folders[2])]
    times = piece_ms(streams, piece, rounds)
    sizes = [sum(file.stat().st_size for file in one.iterdir()) / 1e6 for one in folders]
    cells = [kind, width, f"{1000 * made.period / RATE:g}"]
    cells += [f"{ms:.2f} ({ms / heard:.4f})" for ms in times]
    cells += [*(f"{size:.1f}" for size in sizes[:2]), f"{sizes[1] / sizes[0]:.3f}"]
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", default=",".join(sorted(set(ENCODERS.kinds) - {"stack"})))
    parser.add_argument("--piece", type=float, default=160, help="milliseconds")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--folders", type=Path, help="where exports are kept")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("Milliseconds a piece, and the real-time factor:")
    print("| model | dim | period, ms | torch | float32 | int8 | sherpa-onnx | float32, MB | int8, MB | ratio |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        for kind in options.kinds.split(","):
            torch.manual_seed(0)
            print(
                row(kind, round(options.piece * RATE / 1000), options.rounds, options.folders or Path(folder)),
                flush=True,
            )
            gc.collect()


if __name__ == "__main__":
    main()
