"""The house rules of docs/design.md, section 1: style, direction of imports, size of files, no machine's paths."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from sysconfig import get_path

import pytest

ROOT = Path(__file__).parents[1]
MAX_LINES = 400
PROSE_AND_CODE = {".py", ".sh", ".md", ".toml", ".yaml", ".txt", ".in", ".cpp", ".h", ".html", ".js"}
MACHINE_PATH = re.compile(r"(?<![\w.~}$])/(home|root|tmp|work|Users|opt|mnt)/\w")


def run(*command: str, cwd: Path = ROOT, path: tuple[Path | str, ...] = ()) -> subprocess.CompletedProcess:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    return subprocess.run([sys.executable, *command], cwd=cwd, env=env, capture_output=True, text=True)


def lint_imports(tree: Path) -> subprocess.CompletedProcess:
    call = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    # -S: an editable install would lead the linter to the tree it was made from instead of this one.
    return run("-S", "-c", call, cwd=tree, path=(tree, tree / "kernels", get_path("purelib"), get_path("platlib")))


def files_of(*folders: str, suffixes: set[str]) -> list[Path]:
    """The project's own files: what git would track, without asking git."""
    made = re.compile(r"/(__pycache__|egs/[^/]+/(data|exp)|kernels/cmake|docs/_build)/")
    found = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in suffixes]
    return [path for path in found if not made.search(path.as_posix())]


def own_files() -> list[Path]:
    """Every page and every source of the project."""
    folders = "audiorec", "kernels", "recipes", "egs", "tests", "tools", "docs", ".ci"
    pages = [path for path in ROOT.iterdir() if path.suffix in PROSE_AND_CODE]
    return [*files_of(*folders, suffixes=PROSE_AND_CODE), *pages, ROOT / "Makefile", ROOT / ".ci" / "run"]


@pytest.mark.parametrize("command", [("check",), ("format", "--check")], ids=" ".join)
def test_ruff(command):
    result = run("-m", "ruff", *command, "--no-cache")
    assert result.returncode == 0, result.stdout + result.stderr


def test_types_agree():
    # Its cache stays: the first run reads torch, which takes half a minute.
    result = run("-m", "mypy")
    assert result.returncode == 0, result.stdout + result.stderr


def test_messages_and_pages_install_the_name_on_the_index():
    bare = "audiorec"  # another project's there
    wrong = re.compile(rf"pip install [^\n#]*?\b{bare}(?!-speech\b)(?=[\[\s'\"`)]|$)")
    assert wrong.search(f"pip install '{bare}[train]'") and not wrong.search(f"pip install '{bare}-speech[train]'")
    assert not [f"{path}: {hit[0]}" for path in own_files() if (hit := wrong.search(path.read_text()))]


def test_every_dependency_has_a_lower_bound():
    """Else `make test-minimum` would take its oldest version."""
    text = (ROOT / "pyproject.toml").read_text()
    named = re.search(r"(?ms)^dependencies = \[(.+?)^\]", text)[1] + "".join(
        re.findall(r"(?m)^(?:train|mic|serve) = .+", text)
    )
    libraries = re.findall(r'"([^"]+)"', named)
    assert len(libraries) > 10 and not [
        library for library in libraries if not re.fullmatch(r"[\w-]+>=[\d.]+", library)
    ]


def test_imports_run_downwards():
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("file", "line", "complaint"),
    [
        ("audiorec/errors.py", "import audiorec.config", "errors is not allowed to import audiorec.config"),
        ("audiorec/streaming/__init__.py", "import lhotse", "streaming is not allowed to import lhotse"),
        ("kernels/audiorec_kernels/__init__.py", "import audiorec", "kernels is not allowed to import audiorec"),
        ("audiorec/stray/__init__.py", "", "stray"),
    ],
    ids=["upwards", "training library", "kernels", "no place in the layers"],
)
def test_a_forbidden_import_is_caught(tmp_path, file, line, complaint):
    for name in ("audiorec", "kernels"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    planted = tmp_path / file
    planted.parent.mkdir(exist_ok=True)
    with planted.open("a") as stream:
        stream.write(f"\n\ndef _planted():\n    {line or 'pass'}\n")
    result = lint_imports(tmp_path)
    assert result.returncode != 0 and complaint in result.stdout, result.stdout + result.stderr


def test_files_are_short():
    lines = {
        path: len(path.read_text().splitlines())
        for path in files_of("audiorec", "kernels", suffixes={".py", ".cpp", ".h"})
    }
    assert lines and not {str(path): count for path, count in lines.items() if count > MAX_LINES}


def test_no_machine_paths():
    named = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in own_files()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if MACHINE_PATH.search(line)
    ]
    assert not named, "\n".join(named)
