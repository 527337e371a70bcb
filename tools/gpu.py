"""Everything that only a GPU can tell, in one call of under ten minutes: python tools/gpu.py (or make gpu)

Laws and kernel tests, a training step of each encoder and loss, then figures of kernels, losses, encoders and a training.
All of it goes to a page, whose path is printed last. Where there is no NVIDIA GPU it says so in one line and exits 0. What
needs a library that is missing is left out and named. Needs torch with CUDA and triton alone for the kernels' figures.
"""

import argparse
import importlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 570  # of all parts together
TOOLKIT = ("pydantic", "yaml", "numpy", "soundfile", "soxr", "sentencepiece", "safetensors", "typer", "rich")
TRAINING = (*TOOLKIT, "lightning", "lhotse", "jiwer")


@dataclass
class Part:
    """A command of Python, and what it must be able to import. It is stopped after so many seconds."""

    name: str
    arguments: tuple[str, ...]
    needs: tuple[str, ...]
    seconds: int


def parts(device: str, quick: bool) -> list[Part]:
    def tests(*what: str) -> tuple[str, ...]:
        return "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *what

    def bench(name: str, *options: str) -> tuple[str, ...]:
        return f"tools/bench/{name}.py", "--device", device, *options

    def case(*options: str) -> tuple[str, ...]:
        return options if quick else ()

    laws = tests("tests/kernels/test_laws.py", "tests/kernels/test_lattice.py", *case("-k", "empty_batch"))
    recipes = ("lstm_ctc", "lstm_tdt", "lstm_rnnt", "mamba_ctc", "min_gru_ctc", "conformer_ctc")
    step = ("--entries", "0", "--repeats", "3", "--rows", "1" if quick else "32", *case("--seconds", "1"))
    return [
        Part("the kernels' laws", laws, ("pytest", "numpy"), 150),
        Part("training steps, laws of streaming", tests("tests/gpu", *case("-k", "lstm")), ("pytest", *TOOLKIT), 90),
        Part("kernels", bench("kernels", "--seconds", "0.1", *case("--only", "rnn")), (), 120),
        Part("losses", bench("losses", *case("--vocabulary", "20", "--sizes", "12", "4")), TOOLKIT, 60),
        Part("encoders", bench("encoders", "--quick", *case("--kinds", "lstm")), TOOLKIT, 90),
        *(
            Part(f"a training step of {name}", bench("training_step", f"recipes/{name}.yaml", *step), TOOLKIT, 40)
            for name in (recipes[:1] if quick else recipes)
        ),
        Part("a training", bench("epoch", *case("--max-steps", "2")), TRAINING, 120),
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
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
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
    for part in parts(device, quick):
        left = SECONDS - (time.monotonic() - begun)
        if gone := missing(part.needs):
            status, output = 0, f"left out: {', '.join(gone)} does not import"
        elif left < 10:
            status, output = 1, "left out: no time was left"
        else:
            status, output = run(part, device, min(part.seconds, left))
        before = SECONDS - left
        title = f"{part.name}: " + ("failed" if status else "left out" if output.startswith("left out") else "done")
        failed += [part.name] if status else []
        print(f"gpu: {time.monotonic() - begun:4.0f} s  {title}" + (f" ({output})" if gone else ""), flush=True)
        tables = output.lstrip().startswith(("|", "torch")) and not status
        body = output.strip() if tables else f"```\n{output.strip()[-8000:]}\n```"
        with page.open("a") as file:
            file.write(f"\n## {title}, {time.monotonic() - begun - before:.0f} s\n\n{body}\n")
    print(f"gpu: {len(failed)} parts failed: {', '.join(failed)}" if failed else "gpu: all passed", page, sep="; ")
    return int(bool(failed))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", help="cpu tries this script where there is no GPU, with --quick")
    parser.add_argument("--quick", action="store_true", help="one case of everything")
    parser.add_argument("--page", type=Path, default=ROOT / "build" / "gpu.md")
    arguments = parser.parse_args()
    sys.exit(main(arguments.device, arguments.quick, arguments.page))
