"""From what length on a minGRU layer trains faster than nn.LSTM: python tools/bench/min_gru.py [--dim 256] [--batch 8]

Forward and backward, weights included, of one layer as wide; medians of runs taken in turn, on one thread.
"""

import argparse
import statistics
import time

import torch
from torch import Tensor, nn

from audiorec.encoders.min_rnn import MinGru

LENGTHS = 1, 2, 4, 8, 16, 32, 64, 125, 250, 500, 1000
REPEATS = 15


def seconds(layer: nn.Module, *inputs: Tensor) -> float:
    start = time.perf_counter()
    y, *_ = layer(*inputs)
    torch.autograd.grad(y, [inputs[0], *layer.parameters()], torch.ones_like(y))
    return time.perf_counter() - start


def main(dim: int, batch: int) -> None:
    torch.set_num_threads(1)
    lstm, min_gru = nn.LSTM(dim, dim, batch_first=True), MinGru(dim, dim)
    print(
        f"batch {batch}, {dim} wide, torch {torch.__version__}\n\n| frames | minGRU | nn.LSTM | ratio |\n|---|---|---|---|"
    )
    for frames in LENGTHS:
        x, lengths = torch.randn(batch, frames, dim, requires_grad=True), torch.full((batch,), frames)
        runs = [(seconds(min_gru, x, lengths), seconds(lstm, x)) for _ in range(REPEATS + 1)][1:]
        ours, peer = map(statistics.median, zip(*runs, strict=True))
        print(f"| {frames} | {ours * 1e3:.2f} ms | {peer * 1e3:.2f} ms | {peer / ours:.1f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    arguments = parser.parse_args()
    main(arguments.dim, arguments.batch)
