"""``hf://OWNER/NAME``: fetched and imported once; offline, from the hub's cache or one clear line. The hub is a stand-in here."""

import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

import audiorec
from audiorec.errors import UserError
from audiorec.importing.hub import downloaded, fetched

from .nemo import GOLDEN


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
