"""A student's frames against a teacher's: the divergence by hand, the training, and what does not fit together."""

import pytest
import torch
import torch.nn.functional as F

from audiorec.config import load_config
from audiorec.data.batches import Batch
from audiorec.errors import ConfigError, UserError
from audiorec.models import AsrModel, load_model
from audiorec.training.checkpoints import read_checkpoint
from audiorec.training.config import RunConfig
from audiorec.training.distill import Teacher
from audiorec.training.module import Training
from audiorec.training.run import train
from tests.conftest import ROOT
from tests.training.conftest import recipe

STUDENT = 'encoder={"kind":"gru","dim":8,"layers":1,"strides":[3]}'


def batch(*lengths: int) -> Batch:
    torch.manual_seed(0)
    return Batch(torch.randn(len(lengths), max(lengths)), torch.tensor(lengths), {}, [], [], [])


@pytest.mark.parametrize("temperature, shift", [(1.0, 0), (2.0, 0), (1.0, 3)])
def test_the_divergence_is_that_of_each_valid_frame(model_dir, temperature, shift):
    tokenizer = load_model(model_dir)[1]
    config = recipe(
        STUDENT, f"trainer.teacher={model_dir}", f"trainer.teacher_temperature={temperature}", f"trainer.teacher_shift={shift}"
    )  # fmt: skip
    student, heard = AsrModel(config, tokenizer.size).eval(), batch(8000, 5000)
    teacher = Teacher(config.trainer, student, tokenizer)
    lacking, count = teacher.divergence(student, student.frames(heard.samples, heard.lengths), heard)
    total, frames = 0.0, 0
    for samples, length in zip(heard.samples, heard.lengths.tolist(), strict=True):
        wanted, said = (
            (model.head()(model(samples[None, :length])[0])[0] / temperature).log_softmax(-1)
            for model in (teacher.model, student)
        )
        wanted, said = wanted[: len(wanted) - shift], said[shift:]
        total += temperature**2 * float(F.kl_div(said, wanted, reduction="sum", log_target=True).detach())
        frames += len(wanted)
    assert int(count) == frames and float(lacking.detach()) == pytest.approx(total, rel=1e-4)
    lacking.backward()
    assert all(parameter.grad is not None for parameter in student.parameters())
    assert all(parameter.grad is None for parameter in teacher.model.parameters())


def test_a_student_later_by_the_shift_lacks_nothing(model_dir, monkeypatch):
    tokenizer = load_model(model_dir)[1]
    student = load_model(model_dir)[0]
    teacher = Teacher(recipe(f"trainer.teacher={model_dir}", "trainer.teacher_shift=2").trainer, student, tokenizer)
    heard = batch(8000, 5000)
    late = {"ctc": tuple(student(heard.samples, heard.lengths))}
    late["ctc"] = F.pad(late["ctc"][0], (0, 0, 2, 0)), late["ctc"][1] + 2
    assert float(teacher.divergence(student, late, heard)[0].detach()) == pytest.approx(0, abs=1e-5)


class Cut(Exception):
    """Stands for a kill."""


def test_a_student_learns_from_its_teacher_and_goes_on_where_it_was(data, model_dir, tmp_path, monkeypatch):
    """The teacher is in no checkpoint; the divergence is among the figures and falls; a run cut off ends as a whole one."""
    often = ["trainer.max_epochs=2", "data.batch_seconds=3", "trainer.checkpoint_steps=2", "optimizer.warmup_steps=1"]
    config = recipe(STUDENT, *often, f"trainer.teacher={model_dir}", "trainer.teacher_weight=20")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(config, data / "train", data / "dev", whole, model_dir, quiet=True)
    checkpoint = read_checkpoint(whole / "checkpoints/last.ckpt")
    student = AsrModel(config, load_model(model_dir)[1].size)
    assert checkpoint["state_dict"].keys() == {f"model.{name}" for name in student.state_dict()}
    count = sum(len(group["params"]) for group in checkpoint["optimizer_states"][0]["param_groups"])
    assert count == len(list(student.parameters()))
    distances = [row["distillation_loss"] for row in checkpoint["callbacks"]["Reporter"]["history"]]
    assert distances[0] > distances[1] > 0
    assert "distillation_loss" in (whole / "metrics.csv").read_text().splitlines()[0]
    assert "from the teacher" in (whole / "train.log").read_text()

    step, done = Training.training_step, []

    def last(self, *given):
        if len(done) == 3:
            raise Cut
        done.append(given)
        return step(self, *given)

    monkeypatch.setattr(Training, "training_step", last)
    with pytest.raises(Cut):
        train(config, data / "train", data / "dev", cut, model_dir, quiet=True)
    monkeypatch.setattr(Training, "training_step", step)
    train(config, data / "train", data / "dev", cut, model_dir, quiet=True)
    resumed = read_checkpoint(cut / "checkpoints/last.ckpt")
    assert all(torch.equal(value, resumed["state_dict"][name]) for name, value in checkpoint["state_dict"].items())
    assert distances == [row["distillation_loss"] for row in resumed["callbacks"]["Reporter"]["history"]]


@pytest.mark.parametrize(
    "settings, fault",
    [
        (['encoder={"kind":"gru","dim":8,"strides":[2]}'], r"has a frame every 30 ms, and this model every 20 ms; choose enc"),
        (["features.sample_rate=16000"], r"hears 8000 Hz, and features\.sample_rate is 16000"),
        (["heads=transducer"], r"this recipe has the heads transducer, and both models need one of ctc"),
    ],
)  # fmt: skip
def test_a_teacher_that_does_not_fit_is_refused(model_dir, settings, fault):
    tokenizer, config = load_model(model_dir)[1], recipe(f"trainer.teacher={model_dir}", *settings)
    with pytest.raises(UserError, match=r"^trainer\.teacher: .*" + fault):
        Teacher(config.trainer, AsrModel(config, tokenizer.size), tokenizer)


def test_a_teacher_of_other_pieces_is_refused(data, model_dir, tmp_path):
    with pytest.raises(UserError, match=r"trainer\.teacher: .* pieces, and this training's tokenizer .*--tokenizer"):
        train(
            recipe(f"trainer.teacher={model_dir}", "tokenizer.kind=char"), data / "train", data / "dev", tmp_path, quiet=True
        )  # fmt: skip


@pytest.mark.parametrize("key", ["weight=2", "temperature=2", "shift=1"])
def test_what_is_of_a_teacher_needs_one(key):
    with pytest.raises(ConfigError, match=rf"trainer\.teacher_{key[:-2]}: has no meaning without trainer\.teacher"):
        load_config(RunConfig, ROOT / "recipes/lstm_ctc.yaml", [f"trainer.teacher_{key}"])
