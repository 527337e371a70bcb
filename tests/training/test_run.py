"""A run as a person sees it: lines, bars, log, TensorBoard; and settings that cannot be."""

import json
import os
import sys
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from audiorec.config import dump_yaml
from audiorec.errors import ConfigError
from audiorec.training import progress
from audiorec.training.run import train
from tests.training.conftest import recipe


@pytest.fixture(scope="module")
def run(data, tmp_path_factory) -> Path:
    """A run made from Python, with strings for paths."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "tiny.yaml").write_text(dump_yaml(recipe("trainer.max_epochs=2")))
    model = train(str(folder / "tiny.yaml"), str(data / "train"), str(data / "dev"), str(folder / "run"), quiet=True)
    assert model == folder / "run/model" and (model / "config.yaml").is_file()
    return folder / "run"


def test_quiet_is_silent_and_the_log_has_every_line(run, data, capsys):
    train(recipe("trainer.max_epochs=2"), data / "train", data / "dev", run, quiet=True)
    assert capsys.readouterr() == ("", "")
    log = (run / "train.log").read_text()
    for line in (
        "torch 2",
        "training lstm with",
        "epoch   1/2  loss",
        "epoch   2/2  loss",
        "already trained, 2 epochs",
    ):
        assert log.count(line) == 1, line


def test_tensorboard_has_curves_and_hyperparameters(run):
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    curves = {"train_batch_loss", "gradient_norm", "learning_rate", "train_loss", "valid_loss", "valid_wer"}
    assert curves <= set(events.Tags()["scalars"])
    rates = [event.value for event in events.Scalars("learning_rate")]
    assert rates[0] == pytest.approx(1.5e-3 / 100) and len(set(rates)) > 1  # the first of 100 steps of warm-up
    assert all(event.value > 0 for event in events.Scalars("gradient_norm"))
    content = str(events.summary_metadata["_hparams_/session_start_info"].plugin_data.content)
    assert "encoder.dim" in content and "optimizer.lr" in content


def test_a_terminal_shows_bars_within_the_epoch(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    train(recipe("trainer.max_epochs=1"), data / "train", data / "dev", tmp_path / "run")
    shown = capsys.readouterr().out
    for piece in ("epoch 1/1", "training", "validation", "0:00:0", "━", "epoch   1/1  loss"):
        assert piece in shown, piece


def test_a_file_gets_a_line_a_minute(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    train(recipe("trainer.max_epochs=1"), data / "train", data / "dev", tmp_path / "run")
    lines = capsys.readouterr().out.splitlines()
    batches = [line for line in lines if line.startswith("epoch   1/1  batch ")]
    assert len(batches) > 2 and batches[1].endswith(" min left in it") and not any("━" in line for line in lines)


def test_training_runs_where_memory_is_not_counted(data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    train(recipe("trainer.max_epochs=1"), data / "train", data / "dev", tmp_path / "run", quiet=True)
    costs = json.loads((tmp_path / "run/training.json").read_text())
    assert "training_peak_bytes" not in costs and costs["training_steps"] > 0


def test_a_gpu_that_is_not_there_is_one_line(data, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"^trainer\.accelerator: gpu, but torch .* sees none; take cpu or auto"):
        train(recipe("trainer.accelerator=gpu"), data / "train", data / "dev", tmp_path / "run")
    assert os.listdir(tmp_path) == []


def test_patience_needs_a_measure_that_can_get_worse():
    with pytest.raises(ConfigError, match=r"trainer\.patience: needs trainer\.monitor valid_wer or valid_loss"):
        recipe("trainer.monitor=recent", "trainer.patience=3")
