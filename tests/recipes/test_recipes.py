"""Every recipe is a valid configuration whose model takes a training step."""

import pytest
import torch

from audiorec.config import load_config
from audiorec.losses import mean_per_token
from audiorec.models import AsrModel, parameter_count
from audiorec.training.config import RunConfig
from tests.conftest import ROOT

DIGITS = ["features.sample_rate=8000", "features.bins=64", "tokenizer.kind=word"]


@pytest.mark.parametrize("recipe", sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml")))
def test_a_recipe_builds_and_learns(recipe, speech):
    torch.manual_seed(0)
    config = load_config(RunConfig, ROOT / "recipes" / f"{recipe}.yaml", DIGITS)
    model = AsrModel(config, vocabulary=12).train()
    assert 0.5e6 < parameter_count(model) < 5e6
    samples, lengths = torch.from_numpy(speech[:16000])[None], torch.tensor([16000])
    x, n = model(samples, lengths)
    for head in model.heads.values():
        losses = head.losses(x, n, torch.tensor([[3]]), torch.tensor([1]))  # a label too
        mean_per_token(losses, torch.tensor([1]))[0].backward(retain_graph=True)
    gradients = [p.grad for p in model.parameters()]
    assert all(g is not None and torch.isfinite(g).all() for g in gradients) and any(g.any() for g in gradients)
