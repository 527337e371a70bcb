"""NaN ends a training with one error that names it; what was trained before it stays, and no model is made of NaN."""

import re

import pytest
import torch

from audiorec.errors import UserError
from audiorec.training.module import Training
from audiorec.training.run import average, train
from tests.training.conftest import recipe


def poison(module: Training) -> None:
    with torch.no_grad():
        module.model.head().linear.weight.fill_(torch.nan)


def in_loss(module: Training) -> None:
    poison(module)


def in_gradient(module: Training) -> None:
    module.model.head().linear.weight.register_hook(lambda gradient: gradient * torch.inf)


@pytest.mark.parametrize(
    "hook, harm, message",
    [
        ("training_step", in_loss, r"training step {next}: the loss of .*\b\w+-\d-\d+.* is not a number"),
        ("training_step", in_gradient, r"training step {next}: the gradient of .* is not finite"),
        ("validation_step", in_loss, r"validation after step {now}: the loss of .* is not a number"),
    ],
    ids=["loss", "gradient", "validation"],
)
def test_nan_is_one_error_and_the_last_good_checkpoint_stays(data, tmp_path, monkeypatch, hook, harm, message):
    original, steps = getattr(Training, hook), []

    def harmful(self, batch, batch_idx):
        if self.current_epoch == 1 and not steps and (batch_idx == 1 or hook == "validation_step"):
            harm(self)
            steps.append(self.global_step)
        return original(self, batch, batch_idx)

    monkeypatch.setattr(Training, hook, harmful)
    with pytest.raises(UserError) as error:
        config = recipe("trainer.max_epochs=3", "trainer.monitor=valid_loss", "data.buckets=1")
        train(config, data / "train", data / "dev", tmp_path / "run", quiet=True)
    assert re.match(message.format(next=steps[0] + 1, now=steps[0]), str(error.value)), error.value
    assert "\n" not in str(error.value)
    (best,) = (tmp_path / "run/checkpoints").glob("epoch=000*")
    states = [torch.load(path, weights_only=True) for path in (best, tmp_path / "run/checkpoints/last.ckpt")]
    assert [state["epoch"] for state in states] == [0, 0]
    assert all(torch.isfinite(value).all() for state in states for value in state["state_dict"].values())
    assert not (tmp_path / "run/model").exists()
    assert str(error.value) in (tmp_path / "run/train.log").read_text()


def test_average_refuses_nan(data, tmp_path):
    run = tmp_path / "run"
    model = train(recipe("trainer.max_epochs=2"), data / "train", data / "dev", run, quiet=True)
    before = (model / "model.safetensors").read_bytes()
    path = sorted((run / "checkpoints").glob("epoch*"))[-1]
    state = torch.load(path, weights_only=True)
    state["state_dict"]["model.encoder.norm.module.weight"][0] = torch.nan
    torch.save(state, path)
    with pytest.raises(UserError, match=rf"{path.name}: encoder\.norm\.module\.weight is not finite"):
        average(run, 2)
    assert (model / "model.safetensors").read_bytes() == before
