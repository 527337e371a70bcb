"""Every snippet of the guide runs as printed, in the order of its page, at the top of a small clone with small models."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from audiorec.audio.read import write
from audiorec.data.kaldi import Recordings, Utterance, read_data_dir, write_data_dir
from audiorec.encoders import ENCODERS
from tests.conftest import RECORDINGS, ROOT
from tests.importing.nemo import GOLDEN

sybil = pytest.importorskip("sybil")
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser  # noqa: E402 (may be absent)

PAGES = sorted((ROOT / "docs/guide").glob("*.md"))
SMALL = "encoder: {kind: lstm, dim: 16, layers: 1}\nheads: ctc\ntrainer: {max_epochs: 1}\n"


def run(page: Path, text: str, **names: object) -> int:
    """Run the snippets of a page; how many there were. The names are there before the first."""
    document = sybil.Document(text, str(page))
    document.namespace.update(names, __name__="guide")
    for parser in (PythonCodeBlockParser(), CodeBlockParser("bash", run_shell)):
        for region in parser(document):
            document.add(region)
    return len([example.evaluate() for example in document.examples()])


def run_shell(example) -> str | None:
    """Run a block by bash; what one block exports the next ones have."""
    script = f"set -euo pipefail\nif [ -f .exports ]; then . ./.exports; fi\n{example.parsed}\nexport -p >.exports\n"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    return f"{done.stdout}{done.stderr}" if done.returncode else None


@pytest.fixture
def clone(tmp_path, monkeypatch, model_dir, speech) -> Path:
    """What the pages speak of: a trained model, data, a recording, a checkpoint, a corpus of one's own; we stand in it."""
    shutil.copytree(ROOT / "egs/template", tmp_path / "egs/template")
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    recipe = tmp_path / "recipes/lstm_ctc.yaml"
    assert yaml.safe_load(recipe.read_text())["encoder"]["kind"] == "lstm"
    recipe.write_text(SMALL)
    shutil.copytree(model_dir, tmp_path / "exp/lstm")
    for part in ("train", "dev", "test"):
        write_data_dir(tmp_path / "data" / part, read_data_dir(RECORDINGS)[::300])
    for name in ("hello.wav", "recording.wav"):
        write(tmp_path / name, speech[:32000], 8000)
    shutil.copy(GOLDEN / "hybrid.nemo", tmp_path / "checkpoint.nemo")
    write_corpus(tmp_path / "my_corpus", read_data_dir(RECORDINGS)[::100])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_corpus(folder: Path, utterances: list[Utterance]) -> None:
    """A corpus as the template reads it: recordings and a table."""
    recordings, lines = Recordings(), ["path\ttext\tspeaker\n"]
    (folder / "audio").mkdir(parents=True)
    for utterance in utterances:
        write(folder / f"audio/{utterance.id}.flac", recordings.samples(utterance, 8000), 8000)
        lines.append(f"audio/{utterance.id}.flac\t{utterance.text}\t{utterance.speaker}\n")
    (folder / "text.tsv").write_text("".join(lines))


def parameters() -> list:
    slow = [page for page in PAGES if "```bash" in page.read_text(encoding="utf-8")]
    return [pytest.param(page, id=page.stem, marks=[pytest.mark.slow] if page in slow else []) for page in PAGES]


@pytest.mark.parametrize("page", parameters())
def test_a_page_runs_as_printed(page, clone, monkeypatch):
    monkeypatch.setattr(ENCODERS, "kinds", dict(ENCODERS.kinds))  # one page registers a kind
    assert run(page, page.read_text(encoding="utf-8")) > 1


@pytest.mark.slow
def test_the_servers_page_runs_as_printed(clone, speech):
    pytest.importorskip("uvicorn")
    from tests.serving.servers import Running

    page = ROOT / "docs/serving.md"
    text = page.read_text(encoding="utf-8")
    with Running("exp/lstm") as server:
        address = "ws://127.0.0.1:8000"
        assert address in text
        assert run(page, text.replace(address, server.ws), microphone=[speech[:8000], speech[8000:16000]]) == 1


def test_a_snippet_that_fails_fails(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    with pytest.raises(ZeroDivisionError):
        run(page, "# A page\n\n```python\nx = 0\n```\n\nthen\n\n```python\n1 / x\n```\n")
    with pytest.raises(AssertionError, match=r"page\.md, line 3.*\nerror: missing\.yaml: no such"):
        run(page, "# A page\n\n```bash\naudiorec info missing.yaml\n```\n")
