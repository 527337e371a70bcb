"""How fast the kernels are on this CPU beside what one would write without them: python tools/bench/kernels.py [--only scan]

Medians of interleaved runs, so that what else the machine does meets all alike; compare ratios, not milliseconds.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from audiorec_kernels import backend
from audiorec_kernels.conv import causal_conv1d
from audiorec_kernels.scan import linear_scan, linear_scan_step, log_linear_scan
from torch import Tensor

SECONDS = 3.0  # of one comparison


@dataclass
class Comparison:
    """``ours`` beside ``peer``, both of the same tensors; ``what`` says which and of what size."""

    what: str
    peer_name: str
    inputs: Callable[[], tuple[Tensor, ...]]
    ours: Callable[..., Tensor]
    peer: Callable[..., Tensor]
    backward: bool = True


def in_plain_torch(function: Callable) -> Callable:
    """The unbound loop: what the kernel's reference does."""

    def call(*inputs: Tensor) -> Tensor:
        with backend("reference"):
            return function(*inputs)

    return call


def first(function: Callable, **options: object) -> Callable[..., Tensor]:
    return lambda *inputs: function(*inputs, **options)[0]


def conv1d(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.conv1d(F.pad(x.transpose(1, 2), (3, 0)), weight[:, None], bias, groups=len(weight)).transpose(1, 2)


SHAPE = 8, 1000, 512
FRAME = 1, 512


def _gates() -> tuple[Tensor, ...]:
    return torch.rand(SHAPE), torch.randn(SHAPE)


def _frame() -> tuple[Tensor, ...]:
    return tuple(torch.rand(3, *FRAME))


OUT = torch.empty(FRAME)
COMPARISONS = {
    "scan": [
        Comparison(
            "linear_scan [8, 1000, 512]", "torch loop", _gates, first(linear_scan), in_plain_torch(first(linear_scan))
        ),
        Comparison(
            "log_linear_scan [8, 1000, 512]",
            "torch loop",
            lambda: (-torch.rand(SHAPE), torch.randn(SHAPE)),
            first(log_linear_scan),
            in_plain_torch(first(log_linear_scan)),
        ),
        Comparison(
            "linear_scan_step [1, 512]", "a * h + b", _frame, linear_scan_step, lambda a, b, h: a * h + b, False
        ),
        Comparison(
            "linear_scan_step [1, 512], given out",
            "a * h + b",
            _frame,
            lambda a, b, h: linear_scan_step(a, b, h, out=OUT),
            lambda a, b, h: a * h + b,
            False,
        ),
    ],
    "conv": [
        Comparison(
            "causal_conv1d [8, 1000, 512], 4 taps",
            name,
            lambda: (torch.randn(SHAPE), torch.randn(512, 4), torch.randn(512)),
            first(causal_conv1d),
            peer,
        )
        for name, peer in {"torch shifted sum": in_plain_torch(first(causal_conv1d)), "F.conv1d": conv1d}.items()
    ],
}


def forward(function: Callable, inputs: tuple[Tensor, ...]) -> Callable[[], object]:
    def call() -> None:
        with torch.no_grad():
            function(*inputs)

    return call


def forward_and_backward(function: Callable, inputs: tuple[Tensor, ...]) -> Callable[[], object]:
    inputs = tuple(x.detach().requires_grad_() for x in inputs)
    weights = torch.randn_like(function(*inputs))
    return lambda: torch.autograd.grad(function(*inputs), inputs, weights)


def medians(calls: list[Callable[[], object]]) -> list[float]:
    """Seconds of a call of each, taken in turn; short calls in groups that fill 2 ms."""
    groups, times = [], [[] for _ in calls]
    for call in calls:
        call()
        start = time.perf_counter()
        call()
        groups.append(max(1, int(2e-3 / (time.perf_counter() - start))))
    start = time.perf_counter()
    while len(times[0]) < 5 or time.perf_counter() - start < SECONDS:
        for call, group, taken in zip(calls, groups, times, strict=True):
            begun = time.perf_counter()
            for _ in range(group):
                call()
            taken.append((time.perf_counter() - begun) / group)
    return [statistics.median(taken) for taken in times]


def shown(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.1f} µs"


def main(families: list[str], threads: list[int]) -> None:
    print(f"torch {torch.__version__}, serving {backend()['cpu']}\n")
    print("| family | function | threads | pass | ours | peer | | ratio |\n|---|---|---|---|---|---|---|---|")
    for family in families:
        for c in COMPARISONS[family]:
            for count in threads if c.backward else [1]:
                torch.set_num_threads(count)
                torch.manual_seed(0)
                inputs = c.inputs()
                for passes, timed in {"forward": forward, "forward + backward": forward_and_backward}.items():
                    if timed is forward or c.backward:
                        ours, peer = medians([timed(c.ours, inputs), timed(c.peer, inputs)])
                        row = family, c.what, count, passes, shown(ours), c.peer_name, shown(peer), f"{peer / ours:.1f}"
                        print("|", " | ".join(map(str, row)), "|", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=COMPARISONS, help="one family")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    main([arguments.only] if arguments.only else list(COMPARISONS), arguments.threads)
