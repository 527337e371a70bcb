"""Processes that train together give the losses of one whose batches are theirs joined, and resume as one does."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from audiorec.data import batches as batches_module
from audiorec.data.batches import SpeechData
from audiorec.errors import UserError
from audiorec.training import ranks
from audiorec.training.run import train
from tests.conftest import ROOT
from tests.training.conftest import SETTINGS, recipe

TOGETHER = ["trainer.max_epochs=2", "encoder.dropout=0", "data.batch_seconds=4", "trainer.checkpoint_steps=2"]
STATISTICS = "import audiorec.training.run as r; r.STATISTICS_BATCHES = 4; "  # which are two joined ones
SLOWLY = "import time, audiorec.training.module as m; s = m.Training.training_step; \
m.Training.training_step = lambda *a: (time.sleep(0.2), s(*a))[1]; "


def history(out: Path) -> list[dict]:
    checkpoint = torch.load(out / "checkpoints/last.ckpt", weights_only=True)
    return next(state["history"] for state in checkpoint["callbacks"].values() if "history" in state)


def script(data: Path, out: Path, before: str = "") -> Path:
    """`audiorec train … trainer.devices=2`, as a file that Lightning or torchrun can begin again for each process."""
    where = ["--train", str(data / "train"), "--valid", str(data / "dev"), "--out", str(out)]
    settings = [*SETTINGS, *TOGETHER, "trainer.devices=2"]
    arguments = ["train", str(ROOT / "recipes/lstm_ctc.yaml"), *settings, *where]
    path = out.with_suffix(".py")
    path.write_text(
        f"import sys; sys.argv[1:] = {arguments!r}; {STATISTICS}{before}from audiorec.cli import main; main()"
    )
    return path


def start(command: list[str | Path], **environment: str) -> subprocess.Popen:
    pipe, environment = subprocess.PIPE, {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        stdout=pipe,
        stderr=pipe,
        text=True,
        env=environment,
        start_new_session=True,
    )


def finish(process: subprocess.Popen) -> None:
    _, err = process.communicate(timeout=500)
    assert process.returncode == 0, err


@pytest.fixture(scope="module")
def two(data, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("two") / "run"
    finish(start([script(data, out)]))
    return out


@pytest.mark.slow
def test_two_processes_have_the_losses_and_words_of_one(data, two, tmp_path, monkeypatch):
    plan = SpeechData._batches

    def joined(self, rows, random):
        """Two batches of the list as one, which is what two processes hear in a step."""
        batches = plan(self, rows, random)
        return [a + b for a, b in zip(batches[::2], batches[1::2], strict=False)] if random else batches

    monkeypatch.setattr(SpeechData, "_batches", joined)
    monkeypatch.setattr("audiorec.training.run.STATISTICS_BATCHES", 2)
    one = tmp_path / "one"
    train(recipe(*TOGETHER), data / "train", data / "dev", one, quiet=True)
    a, b = history(one), history(two)
    assert len(a) == len(b) == 2
    for mine, theirs in zip(a, b, strict=True):
        assert theirs["train_loss"] == pytest.approx(mine["train_loss"], rel=1e-5)
        assert theirs["valid_loss"] == pytest.approx(mine["valid_loss"], rel=1e-5)
        assert theirs["valid_wer"] == mine["valid_wer"]
        assert theirs["audio_seconds"] == mine["audio_seconds"]
        assert len(theirs["losses"]) == len(mine["losses"])
    weights, expected = (load_file(run / "model/model.safetensors") for run in (two, one))
    for name, value in expected.items():
        torch.testing.assert_close(weights[name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_two_killed_processes_go_on_and_end_with_the_same_weights(data, two, tmp_path):
    out = tmp_path / "run"
    process = start([script(data, out, SLOWLY)])
    deadline = time.monotonic() + 300
    while not (out / "checkpoints/last.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (out / "model").exists(), "the run was over before it could be killed"
    finish(start([script(data, out)]))
    a, b = (load_file(run / "model/model.safetensors") for run in (two, out))
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    assert [row["train_loss"] for row in history(out)] == [row["train_loss"] for row in history(two)]


def by_torchrun(script: Path) -> list[subprocess.Popen]:
    return [start(["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", script])]


def by_slurm(script: Path) -> list[subprocess.Popen]:
    """One process a task, told apart by the variables that srun sets; no SLURM."""
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2"}
    job |= {
        "SLURM_NODEID": "0",
        "SLURM_JOB_NODELIST": "localhost",
        "SLURM_NODELIST": "localhost",
        "MASTER_PORT": free_port(),
    }
    return [start([script], SLURM_PROCID=rank, SLURM_LOCALID=rank, **job) for rank in "01"]


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return str(probe.getsockname()[1])


@pytest.mark.slow
@pytest.mark.parametrize("begin", [by_torchrun, by_slurm])
def test_others_may_begin_the_processes(begin, data, two, tmp_path):
    for process in begin(script(data, tmp_path / "run")):
        finish(process)
    a, b = (load_file(run / "model/model.safetensors") for run in (two, tmp_path / "run"))
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_each_process_has_as_many_other_batches(data):
    speech = speech_data(data, batch_seconds=4)
    whole = ids(speech.training(AUGMENT, 1, 0))
    shares = [ids(speech.training(AUGMENT, 1, 0, share=(rank, 3))) for rank in range(3)]
    assert len({len(share) for share in shares}) == 1
    assert [batch for step in zip(*shares, strict=True) for batch in step] == whole[: 3 * len(shares[0])]
    assert ids(speech.training(AUGMENT, 1, 0, done=2, share=(1, 3))) == shares[1][2:]
    assert len(speech.training(AUGMENT, 1, 0, done=2)) == len(whole)
    recorded = [batch for rank in range(3) for batch in ids(speech.as_recorded((rank, 3)))]
    assert sorted(recorded) == sorted(ids(speech.as_recorded()))
    with pytest.raises(UserError, match=r"batches an epoch for 99 processes; lower data.batch_seconds"):
        speech.training(AUGMENT, 1, 0, share=(0, 99))


def test_a_process_waits_for_the_first_one(monkeypatch):
    monkeypatch.setattr(ranks, "PATIENCE_SECONDS", 0.2)
    answers = iter([False, True])
    ranks.wait_for(lambda: next(answers), "a run")
    with pytest.raises(UserError, match="a run did not appear"):
        ranks.wait_for(lambda: False, "a run")


AUGMENT = recipe().augment


def speech_data(data: Path, batch_seconds: float) -> SpeechData:
    from audiorec.text import train_tokenizer

    config = recipe(f"data.batch_seconds={batch_seconds}")
    texts = [u.text for u in batches_module.read_data_dir(data / "train")]
    tokenizer = train_tokenizer(config.tokenizer, texts)
    return SpeechData(data / "train", 8000, tokenizer, config.tokenizer.normalize, config.data)


def ids(loader) -> list[list[str]]:
    return [batch.ids for batch in loader]
