"""One LSTM layer forward and backward beside torch's own, on one thread: python tools/bench/lstm.py [--bf16]

Rows of as many frames as a batch of 100 s has at 25 frames a second, and a BLSTM's windows. The best of ten, in milliseconds.
With --bf16 a latency-controlled BLSTM, too, its forward direction chunk by chunk and all chunks at once.
"""

import argparse
import time
from collections.abc import Callable
from unittest import mock

import torch
from audiorec_kernels.rnn import lstm
from torch import Tensor

from audiorec.encoders import build
from audiorec.encoders.rnn import Lstm

SIZES = [(8, 300, 480, 480), (8, 300, 560, 280), (4, 600, 512, 512), (16, 150, 320, 320), (200, 18, 560, 280)]


def ours(x: Tensor, weight: Tensor, R: Tensor, *biases: Tensor) -> Tensor:
    dim = R.shape[1]
    wx, b = (t.unflatten(-1, (4, 1, dim)) for t in (torch.nn.functional.linear(x, weight), sum(biases)))
    return lstm(wx, R.t().view(1, dim, 4, dim), b)[0][:, :, 0]


def torchs(x: Tensor, weight: Tensor, R: Tensor, *biases: Tensor) -> Tensor:
    state = x.new_zeros(1, x.shape[0], R.shape[1])
    return torch.lstm(x, (state, state), [weight, R, *biases], True, 1, 0.0, False, False, True)[0]


def milliseconds(function: Callable[..., Tensor], x: Tensor, weights: list[Tensor], bf16: bool) -> float:
    best = float("inf")
    for _ in range(10):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            y = function(x, *weights)
        y.float().sum().backward()
        best = min(best, 1000 * (time.perf_counter() - start))
    return best


def windows() -> None:
    """An encoder of 4 × 560, chunks of 12 frames that see 6 more, on 8 rows of 9 to 12.5 s."""
    encoder = build({"kind": "blstm", "dim": 560, "layers": 4, "chunk": 12, "look_ahead": 6}, 80)
    features, lengths = torch.randn(8, 1250, 80), torch.linspace(900, 1250, 8).long()
    with mock.patch.object(Lstm, "states", lambda *_: None):
        by_chunk = milliseconds(lambda x: encoder(x, lengths)[0], features, [], True)
    at_once = milliseconds(lambda x: encoder(x, lengths)[0], features, [], True)
    print(f"BLSTM: chunk by chunk {by_chunk:.0f} ms, all chunks at once {at_once:.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bf16", action="store_true", help="under autocast, as trainer.precision=bf16 has it")
    bf16 = parser.parse_args().bf16
    torch.set_num_threads(1)
    print("| rows | frames | inputs | cells | torch, ms | ours, ms |\n|---:|---:|---:|---:|---:|---:|")
    for rows, frames, inputs, cells in SIZES:
        weights = list(torch.nn.LSTM(inputs, cells).parameters())
        x = torch.randn(rows, frames, inputs, requires_grad=True)
        figures = " | ".join(f"{milliseconds(function, x, weights, bf16):.0f}" for function in (torchs, ours))
        print(f"| {rows} | {frames} | {inputs} | {cells} | {figures} |")
    if bf16:
        windows()


if __name__ == "__main__":
    main()
