"""Everything that only a GPU can tell, in one call of under ten minutes: python tools/gpu.py (or make gpu)

Laws and kernel tests, a training step of each encoder and loss; then figures of kernels, losses, encoders and a training.
All of it goes to a page, whose path is printed last. Where there is no NVIDIA GPU it says so in one line and exits 0. What
needs a library that is missing is left out and named. Needs torch with CUDA and triton alone for the kernels' figures.
"""

import argparse
import importlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 570  # of all parts together
TOOLKIT = ("pydantic", "yaml", "numpy", "soundfile", "soxr", "sentencepiece", "safetensors", "typer", "rich")
TRAINING = (*TOOLKIT, "lightning", "jiwer")


@dataclass
class Part:
    """A command of Python, and what it must be able to import. It is stopped after so many seconds."""

    name: str
    arguments: tuple[str, ...]
    needs: tuple[str, ...]
    seconds: int


def tests(quick: bool) -> list[Part]:
    """They run at once: most of their time the kernels are compiled."""

    def of(name: str, file: str, choice: str, *needs: str) -> Part:
        choice = f"({choice}) and empty_batch" if quick and "kernels" in file else choice
        options = "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", choice
        return Part(name, ("-m", "pytest", *options, file), ("pytest", "numpy", *needs), 280)

    families = ("linear", "selective", "convolution or memory", "LSTM", "GRU")
    laws = [of(f"the kernels' laws, {family}", "tests/kernels/test_laws.py", family) for family in families]
    return [
        *laws,
        of("the lattices' laws", "tests/kernels/test_lattice.py", "triton or native"),
        of("the laws of streaming", "tests/gpu/test_laws.py", "lstm" if quick else "law", *TOOLKIT),
        of("training steps", "tests/gpu/test_training.py", "lstm" if quick else "step or state", *TOOLKIT),
    ]


def figures(device: str, quick: bool) -> list[Part]:
    """They run one after another, each alone."""

    def bench(name: str, *options: str) -> tuple[str, ...]:
        return f"tools/bench/{name}.py", "--device", device, *options

    def case(*options: str) -> tuple[str, ...]:
        return options if quick else ()

    recipes = ("lstm_tdt", "mamba_ctc", "min_gru_ctc", "conformer_ctc")
    step = ("--entries", "0", "--repeats", "3", "--rows", "1" if quick else "32", *case("--seconds", "1"))
    return [
        Part("kernels", bench("kernels", "--seconds", "0.1", *case("--only", "rnn")), (), 120),
        *(
            Part(f"a training step of {name}", bench("training_step", f"recipes/{name}.yaml", *step), TOOLKIT, 40)
            for name in (recipes[:1] if quick else recipes)
        ),
        Part("a training", bench("epoch", *case("--max-steps", "2")), TRAINING, 120),
        Part("losses", bench("losses", *case("--vocabulary", "20", "--sizes", "12", "4")), TOOLKIT, 60),
        Part("encoders", bench("encoders", "--quick", *case("--kinds", "lstm")), TOOLKIT, 90),
    ]


def missing(names: tuple[str, ...]) -> list[str]:
    def imports(name: str) -> bool:
        try:
            importlib.import_module(name)
        except ImportError:
            return False
        return True

    return [name for name in names if not imports(name)]


def gpu() -> tuple[str, str]:
    """What is there, and why it cannot be used where it cannot."""
    try:
        import torch
    except ImportError as error:
        return (
            "",
            f"{sys.executable} cannot import torch ({error}): `make setup`, or PYTHON_ENV=… names a folder with its python",
        )
    if not torch.cuda.is_available():
        return "", f"torch {torch.__version__} sees no NVIDIA GPU"
    import_errors = missing(("triton",))
    return (
        f"{torch.cuda.get_device_name()}, torch {torch.__version__}",
        "triton does not import" if import_errors else "",
    )


def run(part: Part, device: str, seconds: float) -> tuple[int, str]:
    """The exit status of a part, and what it wrote."""
    paths = [str(ROOT), str(ROOT / "kernels"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "AUDIOREC_TEST_DEVICE": device}
    command = [sys.executable, "-u", *part.arguments]
    # cuBLAS is reproducible, which a test asks for, with this alone.
    environment.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, text=True, start_new_session=True, **pipes)
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # and what it started
        output, _ = process.communicate()
        return 124, f"{output}\nstopped after {seconds:.0f} s"
    return process.returncode, output


def main(device: str, quick: bool, page: Path) -> int:
    there, problem = gpu() if device == "cuda" else ("no GPU: a trial of this script on the CPU", "")
    if problem:
        print(f"gpu: nothing was run: {problem}")
        return 0
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(f"# {there}\n")
    begun, failed = time.monotonic(), []

    def measured(part: Part) -> tuple[Part, str, str, float]:
        """The part, how it ended, its output and its seconds."""
        start = time.monotonic()
        left = SECONDS - (start - begun)
        if absent := missing(part.needs):
            return part, f"left out: {', '.join(absent)} does not import", "", 0.0
        if left < 10:
            return part, "failed: no time was left", "", 0.0
        status, output = run(part, device, min(part.seconds, left))
        return part, "failed" if status else "done", output.strip(), time.monotonic() - start

    with ThreadPoolExecutor(len(tests(quick)) if device == "cuda" else 1) as pool:
        results = chain(pool.map(measured, tests(quick)), map(measured, figures(device, quick)))
        for part, end, output, seconds in results:
            failed += [part.name] if end.startswith("failed") else []
            print(f"gpu: {part.name}: {end}, {seconds:.0f} s", flush=True)
            is_table = end == "done" and part in figures(device, quick)
            body = output if is_table else f"```\n{output[-8000:]}\n```"
            with page.open("a") as file:
                file.write(f"\n## {part.name}: {end}, {seconds:.0f} s\n\n{body}\n")
    print("gpu:", f"failed: {', '.join(failed)}" if failed else "all passed", f"; the page is {page}")
    return int(bool(failed))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", help="cpu tries this script where there is no GPU, with --quick")
    parser.add_argument("--quick", action="store_true", help="one case of everything")
    parser.add_argument("--page", type=Path, default=ROOT / "build" / "gpu.md")
    arguments = parser.parse_args()
    sys.exit(main(arguments.device, arguments.quick, arguments.page))
