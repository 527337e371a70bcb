"""What a piece of a live stream costs: python tools/bench/live.py [--kinds lstm,mamba] [--pieces 40,160,640] [--rounds 30]

Whole models, from samples at 16 kHz through features, encoder, CTC head and greedy search; one thread, one stream, random
weights; every encoder has the width that brings it nearest to ten million parameters. Beside them: the same convolutions and four
LSTM layers in plain torch calls (`plain lstm`), without a contract. Milliseconds are the thread's own, so that waiting for a
busy machine is not counted, as medians of interleaved rounds; the other models push a model's weights out of the caches
meanwhile. Operators are those that torch dispatches in a piece, views included. A piece is rounded up to whole periods of the
model.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from encoders import widest
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from audiorec.config import parse
from audiorec.encoders import ENCODERS
from audiorec.models import AsrModel, ModelConfig

RATE, OUTPUTS = 16000, 500


class Operators(TorchDispatchMode):
    """Counts what torch dispatches."""

    total = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.total += 1
        return function(*args, **(kwargs or {}))


class Model:
    """A stream of an audiorec model."""

    def __init__(self, kind: str):
        self.name = kind
        self.width, self.model = widest(lambda width: model(kind, width))
        self.search = self.model.search()
        self.period = self.model.period
        _, _, self.state = self.model.step(torch.randn(1, self.model.first_feed, 1) / 10)
        self.search_state = self.search.initial_state(1)

    def step(self, x: Tensor) -> None:
        y, _, self.state = self.model.step(x, None, self.state)
        _, self.search_state = self.search.step(y, None, self.search_state)


class Plain:
    """The arithmetic of the LSTM's model alone: torch's own calls on the same weights."""

    name = "plain lstm"

    def __init__(self, twin: Model):
        encoder = twin.model.encoder
        self.twin, self.period, self.width = twin.model, twin.period, twin.width
        layers = [layer for name, layer in encoder.members if name.startswith("layer")]
        self.cells = [(layer.norm, layer.mixer.weights) for layer in layers]
        self.states = [torch.zeros(2, 1, self.width) for _ in layers]
        self.kept = [torch.zeros(1, 3, 80), torch.zeros(1, 3, self.width)]
        self.tail = torch.zeros(1, 280)

    def step(self, x: Tensor) -> None:
        encoder, features = self.twin.encoder, self.twin.features
        samples = torch.cat([self.tail, x[:, :, 0]], 1)
        self.tail = samples[:, -280:]
        y = features.features(samples.unfold(1, features.length, features.hop))
        for i, name in enumerate(("conv0", "conv1")):
            y = torch.cat([self.kept[i], y], 1)
            self.kept[i] = y[:, -3:]
            y = F.silu(encoder.subsampling._modules[name].conv(y.transpose(1, 2)).transpose(1, 2))
        y = _plain(encoder.subsampling.out.module, y)
        for i, (norm, w) in enumerate(self.cells):
            (h, c), normed, outputs = self.states[i], norm(y), []
            for frame in normed.unbind(1):
                h, c = torch.lstm_cell(frame, (h, c), w.weight_ih_l0, w.weight_hh_l0, w.bias_ih_l0, w.bias_hh_l0)
                outputs.append(h)
            self.states[i] = torch.stack([h, c])
            y = y + torch.stack(outputs, 1)
        _plain(self.twin.head().linear, encoder.norm.module(y)).log_softmax(-1).argmax(-1)


def _plain(layer: torch.nn.Linear, x: Tensor) -> Tensor:
    return F.linear(x, layer.weight, layer.bias)


def model(kind: str, width: int) -> AsrModel:
    config = {"encoder": {"kind": kind, "dim": width}, "heads": "ctc"}
    return AsrModel(parse(ModelConfig, config), OUTPUTS).eval()


def milliseconds(call: Callable[[], object]) -> float:
    start = time.thread_time()
    call()
    return 1000 * (time.thread_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", default=",".join(sorted(set(ENCODERS.kinds) - {"stack"})))
    parser.add_argument("--pieces", default="40,160,640", help="milliseconds, separated by commas")
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(1)
    pieces = [float(ms) for ms in options.pieces.split(",")]
    with torch.inference_mode():
        ones: list[Model | Plain] = [Model(kind) for kind in options.kinds.split(",")]
        ones += [Plain(one) for one in ones if one.name == "lstm"]
        sizes = {
            (one.name, ms): -(-round(ms * RATE / 1000) // one.period) * one.period for one in ones for ms in pieces
        }
        operators: dict[tuple[str, float], int] = {}
        times: dict[tuple[str, float], list[float]] = {}
        for round_ in range(options.rounds + 2):
            for one in ones:
                for ms in pieces:
                    x = torch.randn(1, sizes[one.name, ms], 1) / 10
                    if round_ == 0:
                        with Operators() as counted:
                            one.step(x)
                        operators[one.name, ms] = counted.total
                    elif round_ > 1:  # the first are warm-up
                        times.setdefault((one.name, ms), []).append(milliseconds(lambda: one.step(x)))  # noqa: B023
    print("| model | dim | piece, ms | ms a piece | real-time factor | operators |\n|---|---|---|---|---|---|")
    for one in ones:
        for ms in pieces:
            spent, heard = statistics.median(times[one.name, ms]), 1000 * sizes[one.name, ms] / RATE
            cells = (
                f"{one.name} | {one.width} | {heard:g} | {spent:.2f} | {spent / heard:.3f} | {operators[one.name, ms]}"
            )
            print(f"| {cells} |", flush=True)


if __name__ == "__main__":
    main()
