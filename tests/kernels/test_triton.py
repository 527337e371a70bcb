"""Triton's kernels on a machine without a GPU: the laws of every kernel under the interpreter, and compiled for sm_90."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")
ROOT = Path(__file__).resolve().parents[2]


def run(*command: str, **environment: str) -> None:
    """In a process of its own: Triton reads its environment once, when it is imported."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environment}
    done = subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]


def interpreted(file: str, tests: str) -> None:
    """A file's tests, of which the backend under the interpreter is triton."""
    options = "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", tests
    run("-m", "pytest", *options, f"tests/kernels/{file}", TRITON_INTERPRET="1")


@pytest.mark.slow
def test_the_interpreter_gives_the_reference():
    interpreted("test_laws.py", "test_it_gives_the_reference_in_float64 and 17 and not wide and not tap")


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["linear and not log", "log", "selective", "convolution", "memory", "LSTM", "GRU"])
def test_every_law_holds_under_the_interpreter(kernel):
    interpreted("test_laws.py", f"{kernel} and not threads")


@pytest.mark.slow
def test_the_interpreted_lattice_is_the_reference():
    interpreted("test_lattice.py", "triton")


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [
        *("linear_scan", "log_linear_scan", "selective_scan", "_carry", "causal_conv1d"),
        *("lstm", "lstm many", "lstm large", "gru", "gru many", "gru large"),
        *("transducer_lattice", "transducer_lattice modified", "arc_lattice"),
    ],
)
def test_it_compiles_for_sm_90_without_spills(case):
    run("tools/compile_kernels.py", case)
