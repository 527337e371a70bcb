"""``hf://OWNER/NAME``: fetched and imported once; offline, from the hub's cache or one clear line.

The quick tests have a stand-in for ``huggingface_hub``; the slow one has the real one, and a hub on this machine.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import soundfile

import audiorec
from audiorec.errors import UserError
from audiorec.importing.hub import downloaded, fetched

from .hub import serving
from .nemo import GOLDEN, speech


class HubError(OSError):
    pass


class NotCached(FileNotFoundError):
    pass


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub of one repository, as far as ``huggingface_hub`` is used: set ``offline``, or look at ``asked``."""
    repository = tmp_path / "snapshot"
    repository.mkdir()
    shutil.copy(GOLDEN / "hybrid.nemo", repository)
    hub, errors = ModuleType("huggingface_hub"), ModuleType("huggingface_hub.errors")
    hub.offline, hub.cached, hub.asked = False, False, []
    errors.HfHubHTTPError, errors.LocalEntryNotFoundError = HubError, NotCached

    class HfApi:
        def list_repo_files(self, name, revision=None):
            if hub.offline:
                raise ConnectionError("offline mode is enabled")
            if name != "nvidia/tiny":
                raise HubError("404 Client Error")
            return ["README.md", "hybrid.nemo", "model.safetensors"]

    def snapshot_download(name, revision, allow_patterns=None, local_files_only=False):
        if local_files_only and not hub.cached:
            raise NotCached("not in the cache")
        hub.asked.append((name, revision, allow_patterns))
        return str(repository)

    hub.HfApi, hub.snapshot_download = HfApi, snapshot_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", errors)
    monkeypatch.setenv("AUDIOREC_CACHE", str(tmp_path / "cache"))
    return hub


def test_a_model_is_imported_once(hub, tmp_path, speech):
    recognizer = audiorec.load("hf://nvidia/tiny")
    assert hub.asked == [("nvidia/tiny", None, ["*.nemo"])]
    assert recognizer.transcribe((8000, speech[:8000])).text
    hub.offline = True
    folder = fetched(Path("hf://nvidia/tiny"))  # a Path, as commands have it, has lost a slash
    assert folder == tmp_path / "cache" / "imported" / "nvidia--tiny" and len(hub.asked) == 1
    hub.cached = True
    assert fetched("hf://nvidia/tiny@v1") != folder
    assert hub.asked[-1][:2] == ("nvidia/tiny", "v1")


def test_offline_it_comes_from_the_hubs_cache_or_says_so(hub):
    hub.offline = True
    with pytest.raises(UserError, match=r"cannot be reached .offline mode is enabled., and its cache does not hold"):
        audiorec.load("hf://nvidia/tiny")
    hub.cached = True
    assert audiorec.load("hf://nvidia/tiny").latency_ms > 0


def test_what_cannot_be_fetched_is_one_clear_line(hub, monkeypatch):
    for address, complaint in (
        ("hf://nvidia/other", "hf://nvidia/other: the hub does not give it .404 Client Error"),
        ("hf://tiny", "write it as hf://OWNER/NAME"),
        ("hf://nvidia/../tiny", "write it as hf://OWNER/NAME"),
    ):
        with pytest.raises(UserError, match=complaint):
            audiorec.load(address)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"takes huggingface_hub; pip install 'audiorec-speech\[import\]'"):
        downloaded("hf://nvidia/tiny")


@pytest.mark.slow
def test_serve_fetches_from_a_hub_and_then_needs_none(tmp_path):
    """With the real ``huggingface_hub``, which reads its settings as it is imported: in processes of their own."""
    pytest.importorskip("huggingface_hub")
    httpx = pytest.importorskip("httpx")
    from tests.serving.servers import Running

    (tmp_path / "repository").mkdir()
    shutil.copy(GOLDEN / "hybrid.nemo", tmp_path / "repository")
    caches = {"HF_HOME": str(tmp_path / "hub"), "AUDIOREC_CACHE": str(tmp_path / "cache")}
    samples = speech()[0].numpy()
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="PCM_16")

    def said(**environment: str) -> str:
        with Running("hf://nvidia/tiny", **caches, **environment) as server:
            assert server.line.startswith("serving tiny at")
            form = {"files": {"file": ("a.wav", (tmp_path / "a.wav").read_bytes())}, "data": {"model": "tiny"}}
            answer = httpx.post(f"{server.http}/v1/audio/transcriptions", timeout=120, **form)
            assert answer.status_code == 200, answer.text
            return answer.json()["text"]

    def fails(address: str, **environment: str) -> str:
        code = "from audiorec.cli import main; main()"
        command = [sys.executable, "-c", code, "transcribe", address, str(tmp_path / "a.wav")]
        env = {**os.environ, **caches, **environment}
        done = subprocess.run(command, capture_output=True, text=True, env=env)
        assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1, done.stderr
        return done.stderr

    with serving("nvidia/tiny", tmp_path / "repository") as hub:
        first = said(HF_ENDPOINT=hub)
        assert "the hub does not give it" in fails("hf://nvidia/other", HF_ENDPOINT=hub)
    assert first == audiorec.load(tmp_path / "cache" / "imported" / "nvidia--tiny").transcribe(samples).text != ""
    assert said(HF_HUB_OFFLINE="1") == first
    assert "cannot be reached" in fails("hf://nvidia/another", HF_HUB_OFFLINE="1")
