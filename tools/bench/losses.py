"""What transducer losses cost through a joiner, forward and backward, on one thread: python tools/bench/losses.py

B 8, T 250, U 60, all dims 512, V 500 and 5000: the pruned loss, projections and both passes included, against torchaudio's
full loss. ``--losses pruned viterbi`` takes these alone, against the first of them: viterbi is the loss along a given path,
alignment and ctc_alignment what it costs to find one, forward alone. Each measurement is a fresh process, and the losses take
turns. Times are its own CPU time, which neighbours disturb least; medians. Memory is its peak over what it held before the
step: weights, inputs and code are not in it, gradients are.
``--against-size FILE.png`` draws the pruned loss's cost against U and T instead; ``--device cuda`` times all losses there.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from audiorec.decoders import Joiner
from audiorec.losses import FullTransducerLoss, PrunedTransducerLoss, TdtLoss, ViterbiLoss
from audiorec.search import align_ctc, align_transducer

DIM, BATCH, FRAMES, SYMBOLS = 512, 8, 250, 60
LOSSES = "torchaudio", "full", "pruned", "recomputed", "tdt", "viterbi", "alignment", "ctc_alignment"
Step = Callable[[], None]


def make(kind: str, vocabulary: int, frames: int = FRAMES, symbols: int = SYMBOLS) -> Step:
    """One training step of a loss and its joiner; every row has its full length."""
    torch.manual_seed(0)
    joiner = Joiner(DIM, DIM, DIM, vocabulary + (len(TdtLoss().durations) if kind == "tdt" else 0))
    encoder = torch.randn(BATCH, frames, DIM, requires_grad=True)
    predictor = torch.randn(BATCH, symbols + 1, DIM, requires_grad=True)
    targets = torch.randint(1, vocabulary, (BATCH, symbols))
    lengths, target_lengths = torch.full((BATCH,), frames), torch.full((BATCH,), symbols)
    inputs = encoder, predictor, joiner, targets, lengths, target_lengths
    modules = [joiner]
    if kind == "torchaudio":
        from torchaudio.functional import rnnt_loss

        def loss() -> Tensor:
            logits = joiner(joiner.encoder_proj(encoder)[:, :, None], joiner.predictor_proj(predictor)[:, None])
            return rnnt_loss(logits, targets.int(), lengths.int(), target_lengths.int(), blank=0, reduction="sum")
    elif kind == "viterbi":
        starts = torch.randint(frames, (BATCH, symbols)).sort().values

        def loss() -> Tensor:
            return ViterbiLoss()(*inputs, starts).sum()
    elif kind == "alignment":
        found = encoder, lengths, targets, target_lengths
        return lambda: align_transducer(lambda _: predictor, joiner, *found) and None
    elif kind == "ctc_alignment":
        log_probs = torch.randn(BATCH, frames, vocabulary).log_softmax(-1)
        return lambda: align_ctc(log_probs, lengths, targets, target_lengths) and None
    else:
        if kind in ("full", "tdt"):
            module = FullTransducerLoss() if kind == "full" else TdtLoss()
        else:
            module = PrunedTransducerLoss(DIM, DIM, vocabulary, recompute=kind == "recomputed")
        modules.append(module)

        def loss() -> Tensor:
            return module(*inputs).sum()

    def step() -> None:
        for part in modules:
            part.zero_grad()
        encoder.grad = predictor.grad = None
        loss().backward()

    return step


def status(field: str) -> float:
    """MB, of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1000


def measure_here(kind: str, *sizes: int) -> tuple[float, float]:
    """Milliseconds and peak MB of a step."""
    make(kind, 8, 8, 4)()  # libraries and what they set up
    step = make(kind, *sizes)
    Path("/proc/self/clear_refs").write_text("5")  # Linux forgets the peak until now
    before = status("VmRSS")
    times = []
    while len(times) < 3 and sum(times) < 5:
        start = time.process_time()
        step()
        times.append(time.process_time() - start)
        if len(times) == 1:
            peak = status("VmHWM") - before
    return statistics.median(times) * 1e3, peak


def measure(kind: str, *sizes: int) -> tuple[float, float]:
    """``measure_here`` in a process of its own."""
    command = [sys.executable, __file__, "--measure", kind, *map(str, sizes)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def compare(vocabularies: list[int], losses: list[str]) -> None:
    first = losses[0]
    print(f"| V | loss | ms | {first} / it | peak MB | it / {first} |\n|---|---|---|---|---|---|")
    for vocabulary in vocabularies:
        found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in losses}
        for turn in range(3):
            for kind, results in found.items():
                if kind != "torchaudio" or vocabulary <= 1000 or turn == 1:  # it takes half a minute and 5 GB
                    results.append(measure(kind, vocabulary))
        medians = {kind: [statistics.median(x) for x in zip(*results, strict=True)] for kind, results in found.items()}
        for kind, (ms, mb) in medians.items():
            slowest, largest = medians[first]
            row = vocabulary, kind, f"{ms:.0f}", f"{slowest / ms:.1f}", f"{mb:.0f}", f"{mb / largest:.2f}"
            print("|", " | ".join(map(str, row)), "|", flush=True)


def on_a_gpu(vocabularies: list[int], device: str, sizes: tuple[int, int]) -> None:
    """Milliseconds and peak MB of a step of each loss, in this process."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    print("| V | loss | dtype | ms | peak MB |\n|---|---|---|---|---|")
    for vocabulary in vocabularies:
        for kind in LOSSES[1:]:
            for dtype in (torch.float32, torch.bfloat16):
                with torch.device(device):
                    step = make(kind, vocabulary, *sizes)
                times, before, most = [], 0, 0.0
                with torch.autocast(device, torch.bfloat16, enabled=dtype is torch.bfloat16):
                    for repeat in range(6):
                        wait()
                        if device == "cuda":
                            before = torch.cuda.memory_allocated()
                            torch.cuda.reset_peak_memory_stats()
                        start = time.perf_counter()
                        step()
                        wait()
                        times += [time.perf_counter() - start] if repeat else []
                        if device == "cuda":
                            most = (torch.cuda.max_memory_allocated() - before) / 1e6
                row = vocabulary, kind, str(dtype)[6:], f"{statistics.median(times) * 1e3:.1f}", f"{most:.0f}"
                print("|", " | ".join(map(str, row)), "|", flush=True)


def against_size(path: Path) -> None:
    """V 500: U at T 250, and T at U 60, pruned and full through the same joiner."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(9, 6), layout="constrained")
    print("| T | U | loss | ms | peak MB |\n|---|---|---|---|---|")
    for column, (name, sizes) in enumerate(
        {"U": [(FRAMES, u) for u in (15, 30, 60, 120)], "T": [(t, SYMBOLS) for t in (125, 250, 500, 1000)]}.items()
    ):
        for kind in ("pruned", "full"):
            sizes_shown = [size for size in sizes if kind == "pruned" or size[0] * size[1] <= FRAMES * SYMBOLS * 2]
            times, memory = zip(*(measure(kind, 500, *size) for size in sizes_shown), strict=True)
            shown = [size[1 - column] for size in sizes_shown]
            for (t, u), ms, mb in zip(sizes_shown, times, memory, strict=True):
                print(f"| {t} | {u} | {kind} | {ms:.0f} | {mb:.0f} |", flush=True)
            for axis, values, label in ((axes[0][column], times, "ms"), (axes[1][column], memory, "peak MB")):
                axis.plot(shown, values, "o-", label=kind)
                axis.set(xlabel=name, ylabel=label)
        for axis in axes[:, column]:  # once all is drawn: a limit that is set stays
            axis.set_ylim(0)
            axis.legend()
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vocabulary", type=int, nargs="+", default=[500, 5000])
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=["torchaudio", "pruned", "recomputed"])
    parser.add_argument("--against-size", type=Path, metavar="FILE.png")
    parser.add_argument("--device", help="cuda: times there; cpu: what that does, on this machine")
    parser.add_argument(
        "--sizes", type=int, nargs=2, default=(FRAMES, SYMBOLS), metavar=("T", "U"), help="with --device"
    )
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure_here(arguments.measure[0], *map(int, arguments.measure[1:]))))
    elif arguments.device:
        on_a_gpu(arguments.vocabulary, arguments.device, tuple(arguments.sizes))
    elif arguments.against_size:
        against_size(arguments.against_size)
    else:
        compare(arguments.vocabulary, arguments.losses)
