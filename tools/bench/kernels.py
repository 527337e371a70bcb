"""How fast the kernels are beside what one would write without them: python tools/bench/kernels.py [--only scan]

Medians of interleaved runs, so that what else the machine does meets all alike; compare ratios, not milliseconds. Freed memory
stays with the process (glibc), so that neither side pays for pages that the other one gave back.

``--device cuda`` times them on a GPU, in float32 and bfloat16, and adds the error against float64 and the peak of memory.
"""

import argparse
import ctypes
import os
import resource
import statistics
import time
from collections.abc import Callable

import torch
from audiorec_kernels import backend
from comparisons import COMPARISONS, Comparison
from torch import Tensor

SECONDS = 3.0  # of one comparison


def forward(function: Callable, inputs: tuple[Tensor, ...]) -> Callable[[], object]:
    return lambda: function(*inputs)


def forward_and_backward(function: Callable, inputs: tuple[Tensor, ...]) -> Callable[[], object]:
    inputs = tuple(x.detach().requires_grad_() for x in inputs)
    y = function(*inputs)
    weights = torch.randn(y.shape, device=y.device).to(y.dtype)  # the same ones in every dtype
    return lambda: torch.autograd.grad(function(*inputs), inputs, weights, allow_unused=True)


def medians(calls: list[Callable[[], object]], wait: Callable[[], object] = lambda: None) -> list[float]:
    """Seconds of a call of each, in groups taken in turn that fill 50 ms, the first call of each not counted: it gets the
    memory that the other one's buffers were in, which the system may have taken back meanwhile."""
    groups, times = [], [[] for _ in calls]
    for call in calls:
        call()
        wait()
        start = time.perf_counter()
        call()
        wait()
        groups.append(max(1, int(50e-3 / (time.perf_counter() - start))))
    start = time.perf_counter()
    while len(times[0]) < 3 or time.perf_counter() - start < SECONDS:
        for call, group, taken in zip(calls, groups, times, strict=True):
            call()
            wait()
            begun = time.perf_counter()
            for _ in range(group):
                call()
            wait()
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


def error(function: Callable, inputs: tuple[Tensor, ...], backward: bool) -> float:
    """The largest error of the outputs and gradients against float64, whose definition is plain torch."""
    run = forward_and_backward if backward else forward

    def results(inputs: tuple[Tensor, ...]) -> list[Tensor]:
        torch.manual_seed(1)  # of the gradients' weights
        found = run(function, inputs)()
        return [found] if isinstance(found, Tensor) else [x for x in found if isinstance(x, Tensor)]

    pairs = zip(results(inputs), results(tuple(x.double() for x in inputs)), strict=True)
    return max(((a - b).abs().max() / b.abs().max().clamp(min=1e-3)).item() for a, b in pairs)


def on_a_gpu(families: list[str], device: str, seconds: float) -> None:
    global SECONDS
    SECONDS, cuda = seconds, device == "cuda"
    print(
        f"torch {torch.__version__}, serving {backend()[device]}, {torch.cuda.get_device_name() if cuda else device}\n"
    )
    print("| function | dtype | pass | ours | peer | | ratio | error | ours, MB | peer, MB |\n|" + "---|" * 10)
    for c in (c for family in families for c in COMPARISONS[family]):
        for dtype in (torch.float32, torch.bfloat16):
            torch.manual_seed(0)
            with torch.device(device):
                inputs = tuple(x.to(dtype) for x in c.inputs())
            for passes in (forward, forward_and_backward) if c.backward else (forward,):
                with torch.set_grad_enabled(passes is not forward):
                    calls = [passes(function, inputs) for function in (c.ours, c.peer)]
                    times = medians(calls, torch.cuda.synchronize if cuda else lambda: None)
                    off = f"{error(c.ours, inputs, passes is not forward):.1e}" if dtype is torch.float32 else ""
                    peaks = [f"{gpu_peak(call):.0f}" if cuda else "" for call in calls]
                row = c.what, str(dtype)[6:], passes.__name__.replace("_", " "), shown(times[0]), c.peer_name
                row = *row, shown(times[1]), f"{times[1] / times[0]:.1f}", off, *peaks
                print("|", " | ".join(row), "|", flush=True)


def gpu_peak(call: Callable[[], object]) -> float:
    """MB that a call takes beyond what stands before it."""
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    call()
    return (torch.cuda.max_memory_allocated() - before) / 1e6


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=COMPARISONS, help="one family")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--device", help="cuda: times there; cpu: what that does, on this machine")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of one comparison, with --device")
    arguments = parser.parse_args()
    families = [arguments.only] if arguments.only else list(COMPARISONS)
    if arguments.device:
        on_a_gpu(families, arguments.device, arguments.seconds)
    else:
        main(families, arguments.threads)
