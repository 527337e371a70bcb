"""The library without its optional parts: no training libraries, no torchaudio, no triton, no compiler."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OPTIONAL = (
    *("torchaudio", "triton", "k2", "kaldi_native_fbank", "sounddevice"),
    *("lhotse", "lightning", "pytorch_lightning", "matplotlib", "tensorboard"),
    *("onnx", "onnx_ir", "onnxruntime", "onnxscript"),
    *("starlette", "uvicorn", "websockets", "prometheus_client", "python_multipart", "huggingface_hub", "kenlm"),
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
        library = missing.name.partition(".")[0]
        if name.startswith("audiorec.training") and library in absent:
            return  # training alone may ask for its libraries at the top
        if name.startswith("audiorec.serving") and not name.endswith((".client", ".mic")) and library in absent:
            return  # and what serves for those of a web server
        if name.startswith("audiorec_kernels.") and library == "triton":
            return  # what is made of Triton is imported where a tensor on a GPU comes
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


def test_the_api_is_shown_and_documented():
    import pydoc

    import audiorec

    assert set(audiorec.__all__) <= set(dir(audiorec)) and not {"Any", "import_module"} & set(dir(audiorec))
    assert all(getattr(audiorec, name) is not None for name in dir(audiorec))
    text = pydoc.plain(pydoc.render_doc(audiorec))
    assert "load(path" in text and "class Recognizer" in text


def test_help_needs_no_torch():
    usage, _, loaded = python(HELP).rpartition("LOADED")
    assert "transcribe" in usage
    assert "torch" not in loaded.split()


SCORE = """
import sys
for library in sys.argv[3:]:
    sys.modules[library] = None
sys.argv = ["audiorec", "score", *sys.argv[1:3]]
from audiorec.cli import main
main()
"""


def test_score_needs_no_optional_part(tmp_path):
    (tmp_path / "text").write_text("a one two\n")
    assert "WER 0.00 %" in python(SCORE, str(tmp_path / "text"), str(tmp_path / "text"), *OPTIONAL)


def wheel(folder: Path, **environment: str) -> tuple[str, list[str], str]:
    """Name and files of the wheel that this tree gives, and what its build said."""
    arguments = "--no-deps", "--no-build-isolation", "-v", "-w", str(folder), str(ROOT)
    result = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *arguments],
        env={**os.environ, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    (built,) = folder.glob("audiorec_speech-*.whl")
    names = zipfile.ZipFile(built).namelist()
    packages = {"audiorec", "audiorec_kernels"}
    assert {f"{package}/{file}" for package in packages for file in ("__init__.py", "py.typed")} <= set(names)
    assert {re.match("[a-z_]+", name)[0] for name in names} == packages | {"audiorec_speech"}
    return built.name, [name for name in names if name.endswith(".so")], result.stdout + result.stderr


def build_tools() -> str:
    """The PATH with what this environment has, or a skip."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    if missing := [tool for tool in ("cmake", "ninja", "c++") if not shutil.which(tool, path=path)]:
        pytest.skip(f"no {missing[0]} here")
    return path


@pytest.mark.slow
def test_a_wheel_holds_the_native_library_for_every_python(tmp_path):
    name, libraries, said = wheel(tmp_path, PATH=build_tools())
    assert re.search(r"-py3-none-(?!any)\w+\.whl$", name)
    assert libraries == ["audiorec_kernels/lib/libaudiorec_kernels.so"]
    assert "plain torch serves" not in said


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["compiler", "CMake"])
def test_a_wheel_builds_without(tmp_path, missing):
    # An editable install leaves its library in the sources: it must not come along.
    environment = (
        {"PATH": ""} if missing == "CMake" else {"PATH": build_tools(), "CXX": "/bin/false", "CC": "/bin/false"}
    )
    name, libraries, said = wheel(tmp_path, **environment)
    assert name.endswith("-py3-none-any.whl") and not libraries
    assert said.count("plain torch serves") == 1


@pytest.mark.slow
def test_an_editable_install_builds_the_library_beside_its_sources(tmp_path):
    tree, site = tmp_path / "tree", tmp_path / "site"
    made = shutil.ignore_patterns("__pycache__", "*.so", "CMakeCache.txt", "CMakeFiles", "*ninja*", ".cmake")
    for folder in ("audiorec", "kernels"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=made)
    for file in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / file, tree)
    command = "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--target", str(site), "-e", str(tree)
    result = subprocess.run(
        [sys.executable, *command], env={**os.environ, "PATH": build_tools()}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert [path.name for path in (tree / "kernels" / "audiorec_kernels" / "lib").iterdir()] == [
        "libaudiorec_kernels.so"
    ]
    assert not list(site.rglob("*.so"))
