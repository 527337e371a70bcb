"""Options of the training that change how gradients or weights are kept, not what a model is."""

import pytest
import torch

from audiorec.errors import UserError
from audiorec.evaluation.run import read_epochs
from audiorec.models import AsrModel
from audiorec.training.checkpoints import read_checkpoint
from audiorec.training.gradients import add_noise, recompute
from audiorec.training.run import train
from tests.training.conftest import recipe


@pytest.mark.parametrize("encoder", ["lstm", "min_gru", "mamba", "conformer"])
def test_recomputed_layers_have_the_same_gradients(encoder):
    config = recipe(f'encoder={{"kind":"{encoder}","dim":16,"layers":2,"strides":[2]}}', "encoder.dropout=0.2")
    samples, lengths = torch.randn(2, 4000), torch.tensor([4000, 3000])
    gradients = []
    for again in (False, True):
        torch.manual_seed(0)
        model = AsrModel(config, 5).train()
        if again:
            recompute(model)
        torch.manual_seed(1)
        x, n = model(samples, lengths)
        model.head().losses(x, n, torch.tensor([[1, 2], [3, 4]]), torch.tensor([2, 2])).sum().backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], value)


def test_gradient_noise_is_of_the_given_deviation_and_falls():
    model = torch.nn.Linear(300, 300)
    noise = []
    for step in (0, 0, 99):
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        add_noise(model, 0.1, seed=1, step=step)
        noise.append(model.weight.grad.clone())
    assert torch.equal(noise[0], noise[1])
    assert noise[0].std() == pytest.approx(0.1, rel=0.02)
    assert noise[2].std() == pytest.approx(0.1 / 100**0.275, rel=0.02)


def test_a_moving_average_is_what_is_validated_and_saved(data, tmp_path):
    plain, averaged = tmp_path / "plain", tmp_path / "averaged"
    for out, more in ((plain, []), (averaged, ["trainer.ema=0.9"])):
        train(recipe("trainer.max_epochs=2", *more), data / "train", data / "dev", out, quiet=True)
    a, b = (read_checkpoint(out / "checkpoints/last.ckpt") for out in (plain, averaged))
    name = "model.encoder.layer0.norm.weight"
    assert torch.equal(a["state_dict"][name], b["current_model_state"][name]), "training itself is the same"
    assert not torch.equal(a["state_dict"][name], b["state_dict"][name])
    assert [epoch.number for epoch in read_epochs(averaged)] == [1, 2]  # what a report reads of a training
    assert all(min(epoch.loss, epoch.valid_loss) > 0 and epoch.error >= 0 for epoch in read_epochs(averaged))


def test_weights_and_biases_that_are_not_installed_are_named(data, tmp_path, monkeypatch):
    def absent(*_, **__):
        raise ModuleNotFoundError("wandb")

    monkeypatch.setattr("audiorec.training.loop.WandbLogger", absent)
    with pytest.raises(UserError, match=r"trainer\.wandb: wandb is not installed"):
        train(recipe("trainer.wandb=speech"), data / "train", data / "dev", tmp_path, quiet=True)
