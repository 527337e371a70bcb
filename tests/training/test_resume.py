"""Training killed in its middle and started again ends with the weights of one that was never disturbed, bit for bit."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from audiorec.config import load_config
from audiorec.errors import ConfigError, UserError
from audiorec.training.checkpoints import epochs_done
from audiorec.training.config import RunConfig
from audiorec.training.loop import claim
from audiorec.training.module import Training
from audiorec.training.run import average, train
from tests.conftest import ROOT

SETTINGS = [
    "features.sample_rate=8000",
    "features.bins=20",
    "encoder.dim=16",
    "encoder.layers=1",
    "tokenizer.kind=word",
    "data.batch_seconds=8",
    "data.strings.clips=[1,3]",
    "augment.speed=[0.9,1.1]",
    "augment.noise_snr_db=[5,20]",
    "augment.babble={}",
    "augment.room={}",
    "trainer.max_epochs=4",
    "trainer.accelerator=cpu",
]
SLOWLY = "import time, audiorec.training.module as m; s = m.Training.training_step; \
m.Training.training_step = lambda *a: (time.sleep(0.15), s(*a))[1]; "


def command(data: Path, out: Path, *more: str) -> list[str]:
    where = ["--train", str(data / "train"), "--valid", str(data / "dev"), "--out", str(out)]
    return ["train", str(ROOT / "recipes/lstm_ctc.yaml"), *SETTINGS, *more, *where]


def start(arguments: list[str], before: str = "") -> subprocess.Popen:
    code = f"import sys; sys.argv[1:] = {arguments!r}; {before}from audiorec.cli import main; main()"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", code], stdout=pipe, stderr=pipe, text=True, env=environment)


def finish(process: subprocess.Popen) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    finish(start(command(data, out)))
    return out


class Cut(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_run_cut_off_within_an_epoch_goes_on_there(data, tmp_path, monkeypatch, steps):
    """Whatever the number of batches between two checkpoints: the same weights, losses and seconds of audio."""
    settings = [
        *SETTINGS,
        "trainer.max_epochs=2",
        "data.batch_seconds=3",
        "encoder.dropout=0.3",
        f"trainer.checkpoint_steps={steps}",
    ]
    config = load_config(RunConfig, ROOT / "recipes/lstm_ctc.yaml", settings)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(config, data / "train", data / "dev", whole, quiet=True)
    step, done = Training.training_step, []

    def last(self, batch, batch_idx):
        if len(done) == 4:
            raise Cut
        done.append(batch.ids)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(Training, "training_step", last)
    with pytest.raises(Cut):
        train(config, data / "train", data / "dev", cut, quiet=True)
    checkpoint = torch.load(cut / "checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 4 // steps * steps and epochs_done(checkpoint) == 0
    monkeypatch.setattr(Training, "training_step", step)
    train(config, data / "train", data / "dev", cut, quiet=True)
    a, b = (weights(run / "checkpoints/last.ckpt") for run in (whole, cut))
    assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
    a, b = (history(run) for run in (whole, cut))
    for name in ("losses", "train_loss", "valid_loss", "valid_wer", "audio_seconds"):
        assert [row[name] for row in a] == [row[name] for row in b], name


@pytest.mark.parametrize("accumulate, batches, saved", [(1, 3, 3), (2, 4, 2), (2, 3, None)])
def test_a_run_told_to_end_saves_and_goes_on_there(data, tmp_path, monkeypatch, capsys, accumulate, batches, saved):
    """SIGTERM, which SLURM and a shutdown send: no step is lost, but for half of one whose gradients were not all there."""
    settings = [*SETTINGS, "trainer.max_epochs=1", "data.batch_seconds=3", f"trainer.accumulate={accumulate}"]
    config = load_config(RunConfig, ROOT / "recipes/lstm_ctc.yaml", settings)
    whole, cut, last = tmp_path / "whole", tmp_path / "cut", tmp_path / "cut/checkpoints/last.ckpt"
    train(config, data / "train", data / "dev", whole, quiet=True)
    step, done = Training.training_step, []

    def told_to_end(self, batch, batch_idx):
        done.append(batch.ids)
        if len(done) == batches:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(Training, "training_step", told_to_end)
    capsys.readouterr()
    with pytest.raises(SystemExit, match="143"):
        train(config, data / "train", data / "dev", cut)
    assert len(done) == batches and (torch.load(last, weights_only=True)["global_step"] if saved else None) == saved
    where = f"goes on from {last}" if saved else "begins anew, for no epoch was saved yet"
    assert capsys.readouterr().out.endswith(f"ended by SIGTERM; the same command {where}\n")
    monkeypatch.setattr(Training, "training_step", step)
    train(config, data / "train", data / "dev", cut, quiet=True)
    a, b = (weights(run / "checkpoints/last.ckpt") for run in (whole, cut))
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert history(whole)[0]["losses"] == history(cut)[0]["losses"]


def history(out: Path) -> list[dict]:
    checkpoint = torch.load(out / "checkpoints/last.ckpt", weights_only=True)
    return next(state["history"] for state in checkpoint["callbacks"].values() if "history" in state)


@pytest.mark.slow
@pytest.mark.parametrize("how, status", [(signal.SIGKILL, -9), (signal.SIGTERM, 143)], ids=["kill", "term"])
def test_a_killed_run_goes_on_and_ends_with_the_same_weights(data, undisturbed, tmp_path, how, status):
    out = tmp_path / "run"
    process = start(command(data, out), SLOWLY)
    deadline = time.monotonic() + 300
    while not list(out.glob("checkpoints/epoch=001*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)  # into the epoch after the last checkpoint
    process.send_signal(how)
    process.communicate()
    assert process.returncode == status
    assert not (out / "model").exists(), "the run was over before it could be killed"
    said = finish(start(command(data, out)))
    assert "going on after epoch" in said and "epoch   1/4" not in said
    for name in ("model/model.safetensors", "checkpoints/last.ckpt"):
        a, b = (weights(run / name) for run in (undisturbed, out))
        assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a), name
    assert (out / "curves.png").read_bytes()[:4] == b"\x89PNG"
    took, whole = (json.loads((run / "training.json").read_text()) for run in (out, undisturbed))
    assert took["training_epochs"] == 4 and took["training_audio_seconds"] == whole["training_audio_seconds"] > 0
    assert took["training_steps"] == whole["training_steps"] > 4
    assert 0 < took["training_data_share"] < 1
    assert took["training_step_seconds"] > 0 and 1e8 < took["training_peak_bytes"] < 1e11


def weights(path: Path) -> dict:
    return load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)["state_dict"]


def test_a_finished_run_is_left_alone_and_may_be_averaged(data, undisturbed):
    before = (undisturbed / "model/model.safetensors").read_bytes()
    config = load_config(RunConfig, undisturbed / "config.yaml")
    train(config, data / "train", data / "dev", undisturbed, quiet=True)
    assert (undisturbed / "model/model.safetensors").read_bytes() == before
    with pytest.raises(UserError, match="holds 4 checkpoints, 9 were asked for"):
        average(undisturbed, 9)
    average(undisturbed, 4)
    paths = sorted((undisturbed / "checkpoints").glob("epoch*.ckpt"))
    states = [torch.load(path, weights_only=True)["state_dict"]["model.encoder.norm.module.weight"] for path in paths]
    mean = load_file(undisturbed / "model/model.safetensors")["encoder.norm.module.weight"]
    torch.testing.assert_close(mean, torch.stack(states).mean(0))


def test_a_run_that_stopped_early_stays_stopped(data, tmp_path, capsys):
    settings = [*SETTINGS, "trainer.patience=1", "optimizer.lr=1e-12", "trainer.monitor=valid_wer"]
    config = load_config(RunConfig, ROOT / "recipes/lstm_ctc.yaml", settings)
    train(config, data / "train", data / "dev", tmp_path)
    assert "epoch   2/4" in (said := capsys.readouterr().out) and "epoch   3/4" not in said
    train(config, data / "train", data / "dev", tmp_path)
    assert capsys.readouterr().out == f"{tmp_path}: already trained, 2 epochs\n"


def test_an_epoch_that_is_not_among_the_best_is_kept_to_go_on_from(data, tmp_path, capsys):
    settings = [*SETTINGS, "trainer.keep_best=1", "optimizer.lr=1e-12", "trainer.monitor=valid_wer"]
    config = load_config(RunConfig, ROOT / "recipes/lstm_ctc.yaml", settings)
    train(config, data / "train", data / "dev", tmp_path, quiet=True)
    last, best = ((tmp_path / "checkpoints").glob(f"{name}*.ckpt") for name in ("last", "epoch"))
    assert [epochs_done(torch.load(path, weights_only=True)) for path in (*last, *best)] == [4, 1]
    capsys.readouterr()
    train(config, data / "train", data / "dev", tmp_path)
    assert capsys.readouterr().out == f"{tmp_path}: already trained, 4 epochs\n"


def test_a_number_of_steps_ends_within_an_epoch_and_resumes(data, undisturbed, tmp_path, capsys):
    epoch = json.loads((undisturbed / "training.json").read_text())["training_steps"] / 4
    steps = round(2.5 * epoch)
    config = load_config(RunConfig, ROOT / "recipes/lstm_ctc.yaml", [*SETTINGS, f"trainer.max_steps={steps}"])
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    train(config, data / "train", data / "dev", whole)
    assert "epoch   3/4" in (said := capsys.readouterr().out) and "epoch   4/4" not in said
    first, _, last = sorted((whole / "checkpoints").glob("epoch*.ckpt"))
    assert torch.load(last, weights_only=True)["global_step"] == steps
    assert json.loads((whole / "training.json").read_text())["training_steps"] == steps

    (resumed / "checkpoints").mkdir(parents=True)
    shutil.copy(whole / "config.yaml", resumed)
    shutil.copy(first, resumed / "checkpoints/last.ckpt")
    train(config, data / "train", data / "dev", resumed)
    assert "going on after epoch 1 of 4" in capsys.readouterr().out
    shutil.rmtree(whole / "model")  # as a run leaves it that was killed after its last step
    train(config, data / "train", data / "dev", whole)
    for run in (whole, resumed):
        a, b = weights(run / "model/model.safetensors"), weights(last)
        assert all(torch.equal(value, b["model." + key]) for key, value in a.items())
    train(config, data / "train", data / "dev", whole)
    assert capsys.readouterr().out.endswith(f"{whole}: already trained, 3 epochs\n")


def test_two_trainings_in_one_folder_are_refused(data, tmp_path):
    config = load_config(RunConfig, ROOT / "recipes/lstm_ctc.yaml", SETTINGS)
    with claim(tmp_path, config), pytest.raises(UserError, match="another training is at work in this folder"):
        train(config, data / "train", data / "dev", tmp_path, quiet=True)


def test_a_folder_of_another_run_is_refused(data, undisturbed):
    config = load_config(RunConfig, undisturbed / "config.yaml", ["encoder.dim=17"])
    with pytest.raises(ConfigError, match=r"begun with encoder\.dim=16, now it is 17"):
        train(config, data / "train", data / "dev", undisturbed, quiet=True)


def test_data_that_cannot_be_trained_on_is_named(data, tmp_path):
    config = load_config(RunConfig, ROOT / "recipes/lstm_ctc.yaml", [*SETTINGS, "data.min_seconds=25"])
    with pytest.raises(UserError, match="no utterance lasts from 25"):
        train(config, data / "train", data / "dev", tmp_path / "run", quiet=True)
    with pytest.raises(UserError, match="no such folder"):
        train(config, data / "none", data / "dev", tmp_path / "other", quiet=True)
