"""How fast the kernels are on this CPU beside what one would write without them: python tools/bench/kernels.py [--only scan]

Medians of interleaved runs, so that what else the machine does meets all alike; compare ratios, not milliseconds. Freed memory
stays with the process (glibc), so that neither side pays for pages that the other one gave back.
"""

import argparse
import ctypes
import os
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from audiorec_kernels import backend
from audiorec_kernels.conv import causal_conv1d
from audiorec_kernels.lattice import transducer_lattice
from audiorec_kernels.lti import lti_scan, lti_scan_step
from audiorec_kernels.scan import linear_scan, linear_scan_step, log_linear_scan
from audiorec_kernels.ssm import selective_scan, selective_scan_step
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
    memory: bool = False


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


def fft_convolution(u: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """The memory as a convolution with its impulse response, by FFT, then the read-out."""
    time, powers = u.shape[1], A[None]
    while len(powers) < time:
        powers = torch.cat([powers, powers @ powers[-1]])
    impulse = torch.cat([B[None], powers[: time - 1] @ B])
    m = torch.fft.irfft(
        torch.fft.rfft(u, 2 * time, dim=1)[..., None] * torch.fft.rfft(impulse, 2 * time, dim=0)[:, None], dim=1
    )
    return torch.einsum("btkd,kqd->btkq", m[:, :time], C)


SHAPE = 8, 1000, 512
FRAME = 1, 512


def _gates() -> tuple[Tensor, ...]:
    return torch.rand(SHAPE), torch.randn(SHAPE)


def _frame() -> tuple[Tensor, ...]:
    return tuple(torch.rand(3, *FRAME))


def _selected(*over: int, dim: int = 512, states: int = 16) -> tuple[Tensor, ...]:
    """u, dt, A, B, C, D, z and dt_bias as a Mamba block begins: A is −1 … −N, steps lie about softplus(−3)."""
    u, dt, z = torch.randn(3, *over, dim)
    B, C = torch.randn(2, *over, states)
    return u, dt, -torch.arange(1.0, states + 1).repeat(dim, 1), B, C, torch.randn(dim), z, torch.randn(dim) - 3


def _call_of_one(u, dt, A, B, C, D, z, dt_bias, h) -> tuple[Tensor, Tensor]:
    u, dt, B, C, z = (x[:, None] for x in (u, dt, B, C, z))
    return selective_scan(u, dt, A, B, C, D, z, dt_bias, initial_state=h)


def _memory(*over: int, channels: int, order: int, outputs: int = 0) -> tuple[Tensor, ...]:
    A = torch.linalg.qr(torch.randn(order, order))[0] * 0.99  # as slow to forget as a memory should be
    read_out = (torch.randn(channels, outputs, order),) if outputs else ()
    return torch.randn(*over, channels), A, torch.randn(order), *read_out


LATTICE = 8, 60, 250  # B, S, T: 8 * 61 * 250 nodes


def _arcs() -> tuple[Tensor, ...]:
    B, S, T = LATTICE
    return torch.randn(B, S, T + 1) - 3, torch.randn(B, S + 1, T) - 1


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
    "selective_scan": [
        Comparison(
            "selective_scan [8, 500, 512, 16]",
            "torch loop",
            lambda: _selected(8, 500),
            first(selective_scan),
            in_plain_torch(first(selective_scan)),
            memory=True,
        ),
        Comparison(
            "selective_scan_step [1, 512, 16]",
            "a call with T = 1",
            lambda: (*_selected(1), torch.randn(1, 512, 16)),
            lambda *inputs: selective_scan_step(*inputs[:-1], initial_state=inputs[-1])[0],
            lambda *inputs: _call_of_one(*inputs)[0],
            False,
        ),
    ],
    "lti": [
        Comparison(
            "lti_scan [8, 500, 64], order 128, read out to 4",
            "FFT",
            lambda: _memory(8, 500, channels=64, order=128, outputs=4),
            first(lti_scan),
            fft_convolution,
        ),
        Comparison(
            "lti_scan_step [1, 48], order 16",
            "a call with T = 1",
            lambda: (*_memory(1, channels=48, order=16), torch.randn(1, 48, 16)),
            lti_scan_step,
            lambda u, A, B, m: lti_scan(u[:, None], A, B, initial_state=m)[1],
            False,
        ),
    ],
    "lattice": [  # the occupancies come with the score: there is no other backward pass
        Comparison(
            "transducer_lattice B 8, S 60, T 250",
            "torch loop",
            _arcs,
            transducer_lattice,
            in_plain_torch(transducer_lattice),
            False,
        )
    ],
}


def forward(function: Callable, inputs: tuple[Tensor, ...]) -> Callable[[], object]:
    return lambda: function(*inputs)


def forward_and_backward(function: Callable, inputs: tuple[Tensor, ...]) -> Callable[[], object]:
    inputs = tuple(x.detach().requires_grad_() for x in inputs)
    weights = torch.randn_like(function(*inputs))
    return lambda: torch.autograd.grad(function(*inputs), inputs, weights)


def medians(calls: list[Callable[[], object]]) -> list[float]:
    """Seconds of a call of each, in groups taken in turn that fill 50 ms, the first call of each not counted: it gets the
    memory that the other one's buffers were in, which the system may have taken back meanwhile."""
    groups, times = [], [[] for _ in calls]
    for call in calls:
        call()
        start = time.perf_counter()
        call()
        groups.append(max(1, int(50e-3 / (time.perf_counter() - start))))
    start = time.perf_counter()
    while len(times[0]) < 5 or time.perf_counter() - start < SECONDS:
        for call, group, taken in zip(calls, groups, times, strict=True):
            call()
            begun = time.perf_counter()
            for _ in range(group):
                call()
            taken.append((time.perf_counter() - begun) / group)
    return [statistics.median(taken) for taken in times]


def peak(call: Callable[[], object]) -> float:
    """MB of memory that a call takes at most, beyond what stands before it: in a forked process, which starts from there."""
    read, write = os.pipe()
    if child := os.fork():
        os.waitpid(child, 0)
        return float(os.read(read, 32))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    call()
    os.write(write, str((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024).encode())
    os._exit(0)


def shown(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.1f} µs"


def keep_memory() -> None:
    """Let malloc give nothing back to the system from now on."""
    M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
    if hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def main(families: list[str], threads: list[int]) -> None:
    print(f"torch {torch.__version__}, serving {backend()['cpu']}\n")
    print("| function | threads | pass | ours | peer | | ratio |\n|---|---|---|---|---|---|---|")

    def report(c: Comparison, count: int, passes: str, ours: float, peer: float, show: Callable[[float], str]) -> None:
        row = c.what, count, passes, show(ours), c.peer_name, show(peer), f"{peer / ours:.1f}"
        print("|", " | ".join(map(str, row)), "|", flush=True)

    comparisons = [c for family in families for c in COMPARISONS[family]]
    torch.set_num_threads(1)
    for c in comparisons:  # before anything is timed: memory that lies ready would hide some
        if c.memory:
            inputs = c.inputs()
            ours, peer = (peak(forward_and_backward(function, inputs)) for function in (c.ours, c.peer))
            report(c, 1, "peak memory", ours, peer, "{:.0f} MB".format)
    keep_memory()
    for c in comparisons:
        for count in threads if c.backward else [1]:
            torch.set_num_threads(count)
            torch.manual_seed(0)
            inputs = c.inputs()
            with torch.no_grad():  # entered once: each time it costs as much as a step does
                report(c, count, "forward", *medians([forward(f, inputs) for f in (c.ours, c.peer)]), shown)
            if c.backward:
                both = [forward_and_backward(function, inputs) for function in (c.ours, c.peer)]
                report(c, count, "forward + backward", *medians(both), shown)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=COMPARISONS, help="one family")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    main([arguments.only] if arguments.only else list(COMPARISONS), arguments.threads)
