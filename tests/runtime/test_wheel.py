"""The distribution without torch: built from the same sources, alone in a fresh environment, it recognises."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from audiorec.runtime import load
from tests.conftest import RECORDINGS
from tests.runtime.handmade import make

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "tools" / "runtime"
PROJECTS = ROOT / "pyproject.toml", SOURCES / "pyproject.toml"
MEGABYTES = 175  # unpacked, without bytecode; onnxruntime and numpy are 133 of them


def dependencies(path: Path) -> set[str]:
    return set(re.findall(r'"([^"]+)"', re.search(r"(?ms)^dependencies = \[(.+?)^\]", path.read_text())[1]))


def test_its_libraries_are_those_of_the_other_distribution():
    everything = dependencies(ROOT / "pyproject.toml")
    (runtime,) = re.findall(r'(?m)^runtime = \["(.+?)"\]', (ROOT / "pyproject.toml").read_text())
    mine = dependencies(SOURCES / "pyproject.toml")
    assert mine - everything == {runtime} and not any(name.startswith("torch") for name in mine)
    for extra in ("mic", "serve"):
        (theirs,), (ours,) = (re.findall(rf"(?m)^{extra} = (.+)$", path.read_text()) for path in PROJECTS)
        assert ours == theirs


def python(interpreter: Path | str, *arguments: Path | str) -> subprocess.CompletedProcess:
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run([interpreter, *map(str, arguments)], env=env, cwd=SOURCES, capture_output=True, text=True)


@pytest.mark.slow
def test_it_recognises_alone_in_a_fresh_environment(tmp_path):
    options = "--no-deps", "--no-build-isolation", "-q", "-w", tmp_path
    built = python(sys.executable, "-m", "pip", "wheel", *options, SOURCES)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert re.fullmatch(r"audiorec_speech_runtime-[\d.]+-py3-none-\w+\.whl", wheel.name)
    with zipfile.ZipFile(wheel) as content:
        sources = {name: content.read(name).decode() for name in content.namelist() if name.endswith(".py")}
    tops = {name for name, text in sources.items() if re.search(r"(?m)^(import|from) torch\b", text)}
    assert len(sources) > 40 and not tops  # none imports torch at its top

    assert python(sys.executable, "-m", "venv", tmp_path / "venv").returncode == 0
    fresh = tmp_path / "venv" / "bin" / "python"
    installed = python(fresh, "-m", "pip", "install", "-q", wheel)
    if installed.returncode and re.search("Connection|Temporary failure|No matching distribution", installed.stderr):
        pytest.skip("the package index is out of reach")
    assert installed.returncode == 0, installed.stderr
    command = fresh.with_name("audiorec")
    folder, file = make(tmp_path / "made", "rnnt"), RECORDINGS / "theo.opus"
    heard = python(command, "transcribe", folder, file)
    assert heard.returncode == 0 and heard.stdout.strip() == load(folder).transcribe(file).text, heard.stderr
    if not wheel.name.endswith("any.whl"):  # there is a compiler
        folder, search = make(tmp_path / "ctc"), {"kind": "beam", "hotwords": ["one two"], "hotwords_score": 4.0}
        script = (
            f"import audiorec; print(audiorec.load({str(folder)!r}, search={search}).transcribe({str(file)!r}).text)"
        )
        heard = python(fresh, "-c", script)
        assert heard.stdout.strip() == load(folder, search=search).transcribe(file).text, heard.stderr
    absent = python(command, "info", folder)
    assert absent.returncode == 1 and "install audiorec-speech in place of" in absent.stderr
    assert absent.stderr.count("\n") == 1

    own = ("pip", "setuptools", "pkg_resources", "_distutils_hack")  # the environment's
    (site,) = (tmp_path / "venv").glob("lib/python3*/site-packages")
    paths = [path.relative_to(site).parts for path in site.rglob("*") if path.is_file() and not path.is_symlink()]
    kept = [parts for parts in paths if parts[0].partition("-")[0] not in own and "__pycache__" not in parts]
    size = sum(site.joinpath(*parts).stat().st_size for parts in kept)
    assert not any(parts[0].startswith("torch") for parts in kept) and size < MEGABYTES * 1e6, size
