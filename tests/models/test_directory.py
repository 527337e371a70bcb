"""A model directory: what is saved is what is loaded, and whatever is wrong with one is named; no pickle is read."""

import os
import pickle
import shutil
import stat

import pytest
import torch

from audiorec.errors import UserError
from audiorec.models import load_model, save_model


@pytest.fixture
def folder(model_dir, tmp_path):
    return shutil.copytree(model_dir, tmp_path / "model")


def test_saved_and_loaded_are_one(folder, tmp_path):
    model, tokenizer, config = load_model(folder)
    save_model(tmp_path / "again", model, config, tokenizer, "card")
    save_model(tmp_path / "again", model, config, tokenizer, "card")  # replaces the first
    again, _, same_config = load_model(tmp_path / "again")
    assert same_config == config and not again.training
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again", "model"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
@pytest.mark.parametrize("umask, mode", [(0o022, 0o644), (0o027, 0o640)])
def test_every_file_is_as_readable_as_the_user_has_it(folder, tmp_path, umask, mode):
    model, tokenizer, config = load_model(folder)
    before = os.umask(umask)
    try:
        save_model(tmp_path / "again", model, config, tokenizer, "card")
    finally:
        os.umask(before)
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "again").iterdir()} == dict.fromkeys(
        ["README.md", "config.yaml", "model.safetensors", "tokens.txt"], mode
    )


def test_a_run_is_loaded_by_its_model(folder, tmp_path):
    (tmp_path / "config.yaml").write_text("the run's own")
    assert load_model(tmp_path)[2] == load_model(folder)[2]


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code of a model was run')",))


def break_pickle(folder):
    (folder / "model.safetensors").write_bytes(pickle.dumps(Evil()))


def break_torch(folder):
    torch.save({"a": torch.zeros(1)}, folder / "model.safetensors")


def break_half(folder):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def break_foreign(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def edit(name, old, new):
    def change(folder):
        path = folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return change


@pytest.mark.parametrize(
    "breaks, message",
    [
        (break_pickle, r"model\.safetensors: this is a pickle, refused unread"),
        (break_torch, r"model\.safetensors: this is a pickle, refused unread"),
        (break_half, r"model\.safetensors: damaged"),
        (break_foreign, r"model\.safetensors: missing \(pytorch_model\.bin is not read"),
        (lambda f: (f / "config.yaml").unlink(), r"config\.yaml: missing"),
        (lambda f: (f / "tokens.txt").unlink(), r"no tokenizer here"),
        (edit("tokens.txt", "\u2581one", "one"), r"tokens\.txt"),
        (edit("config.yaml", "format: 1", "format: 7"), r"config\.yaml: format 7 is not known"),
        (edit("config.yaml", "dim: 16", "dim: 17"), r"model\.safetensors: .* not of one model"),
        (edit("config.yaml", "dim: 16", "dmi: 16"), r"config\.yaml: encoder\.dmi: unknown key"),
        (edit("config.yaml", "kind: lstm", "kind: os.system"), r"config\.yaml: encoder\.kind: unknown kind"),
        (lambda f: (f / "config.yaml").write_text("format: ["), r"config\.yaml: not YAML"),
        (shutil.rmtree, r"no such model directory"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(folder, breaks, message):
    breaks(folder)
    with pytest.raises(UserError, match=message) as error:
        load_model(folder)
    assert "\n" not in str(error.value)
