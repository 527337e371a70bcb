"""The library without its optional parts: no training libraries, no torchaudio, no triton, no compiler."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OPTIONAL = (
    *("torchaudio", "triton", "k2", "kaldi_native_fbank", "sounddevice"),
    *("lhotse", "lightning", "pytorch_lightning", "jiwer", "matplotlib", "tensorboard"),
)

# Arguments: a package, then the modules that shall be absent. Prints the modules that were imported.
IMPORT_EVERYTHING = """
import importlib, pkgutil, sys

package, *absent = sys.argv[1:]

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r} (blocked)", name=name)

def walk(name):
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if name.startswith("audiorec.training") and missing.name.partition(".")[0] in absent:
            return  # training alone may ask for its libraries at the top
        raise
    print(name)
    for child in pkgutil.iter_modules(getattr(module, "__path__", []), name + "."):
        if not child.name.endswith(".__main__"):
            walk(child.name)

sys.meta_path.insert(0, Absent())
walk(package)
"""

HELP = """
import sys
from audiorec.cli import main

sys.argv = ["audiorec", "--help"]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
print("LOADED", *sys.modules)
"""


def python(code: str, *arguments: str) -> str:
    """Run ``code`` in a fresh interpreter that finds this tree; its output, or the test fails with its traceback."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "kernels")])}
    result = subprocess.run([sys.executable, "-c", code, *arguments], env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.parametrize(("package", "absent"), [("audiorec", OPTIONAL), ("audiorec_kernels", (*OPTIONAL, "audiorec"))])
def test_everything_imports_without_the_optional_parts(package, absent):
    assert package in python(IMPORT_EVERYTHING, package, *absent).split()


def test_importing_audiorec_costs_nothing():
    loaded = set(python("import sys, audiorec; print(*sys.modules)").split())
    assert not loaded & {"torch", "numpy", "pydantic", "yaml", "typer", "rich"}


def test_help_needs_no_torch():
    usage, _, loaded = python(HELP).rpartition("LOADED")
    assert "transcribe" in usage
    assert "torch" not in loaded.split()


@pytest.mark.slow
def test_a_wheel_builds_without_a_compiler(tmp_path):
    env = {**os.environ, "CC": "/bin/false", "CXX": "/bin/false", "PATH": ""}
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
        str(ROOT),
    ]
    result = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    (wheel,) = tmp_path.glob("audiorec-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"audiorec/__init__.py", "audiorec_kernels/__init__.py"} <= set(names)
    assert {re.match("[a-z_]+", name)[0] for name in names} == {"audiorec", "audiorec_kernels"}
