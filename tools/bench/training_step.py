"""Where the time of a recipe's training step goes, with fast kernels and without: python tools/bench/training_step.py RECIPE

``--entries 0`` leaves the profile out; ``--device cuda`` runs it there.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from audiorec_kernels import backend
from torch.profiler import ProfilerActivity, profile

from audiorec.config import load_config
from audiorec.losses import mean_per_token
from audiorec.models import AsrModel
from audiorec.training.config import RunConfig


def training_step(recipe: Path, rows: int, seconds: float) -> Callable[[], None]:
    """A call that does forward, loss and backward on noise with 40 words to a row."""
    torch.manual_seed(0)
    model = AsrModel(load_config(RunConfig, recipe, ["tokenizer.kind=word"]), vocabulary=100).train()
    lengths = torch.full((rows,), int(seconds * model.sample_rate))
    samples = torch.randn(rows, int(lengths[0])) * 0.1
    tokens, counts = torch.randint(1, 100, (rows, 40)), torch.full((rows,), 40)

    def step() -> None:
        model.zero_grad()
        x, n = next(iter(model.frames(samples, lengths).values()))
        mean_per_token(model.head().losses(x, n, tokens, counts), counts)[0].backward()

    return step


def main(recipe: Path, rows: int, seconds: float, repeats: int, entries: int) -> None:
    step, kinds = training_step(recipe, rows, seconds), ("auto", "reference")
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for repeat in range(repeats + 1):
        for kind in kinds:
            with backend(kind):
                start = time.perf_counter()
                step()
                if torch.get_default_device().type == "cuda":
                    torch.cuda.synchronize()
            if repeat:
                times[kind].append(time.perf_counter() - start)
    medians = {kind: statistics.median(of_kind) for kind, of_kind in times.items()}
    print(f"{recipe.stem}, {rows} rows of {seconds:g} s, {torch.get_num_threads()} threads, torch {torch.__version__}:")
    print(", ".join(f"{kind} {1e3 * seconds:.0f} ms" for kind, seconds in medians.items()), end="; ")
    print(f"ratio {medians['reference'] / medians['auto']:.2f}", flush=True)
    device = torch.get_default_device().type
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    for kind in kinds if entries else ():
        with backend(kind), profile(activities=activities) as profiled:
            step()
        print(f"\n{kind}\n{profiled.key_averages().table(sort_by=f'self_{device}_time_total', row_limit=entries)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--entries", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    arguments = vars(parser.parse_args())
    torch.set_num_threads(arguments.pop("threads"))
    torch.set_default_device(arguments.pop("device"))
    main(**arguments)
