"""Every recipe is a valid configuration whose model takes a training step."""

import re

import pytest
import torch

from audiorec.config import load_config
from audiorec.data.kaldi import read_data_dir, write_data_dir
from audiorec.errors import ConfigError
from audiorec.losses import mean_per_token
from audiorec.models import AsrModel, parameter_count
from audiorec.training.config import RunConfig
from audiorec.training.run import train
from tests.conftest import RECORDINGS, ROOT

SMALL = [
    "features.sample_rate=8000",
    "features.bins=20",
    "encoder.dim=16",
    "encoder.layers=1",
    "encoder.planes=4",
    "trainer.max_epochs=1",
]
DIGITS = ["features.sample_rate=8000", "features.bins=64", "tokenizer.kind=word"]


@pytest.mark.parametrize("recipe", sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml")))
def test_a_recipe_builds_and_learns(recipe, speech):
    torch.manual_seed(0)
    config = load_config(RunConfig, ROOT / "recipes" / f"{recipe}.yaml", DIGITS)
    model = AsrModel(config, vocabulary=12).train()
    assert 0.05e6 < parameter_count(model) < 5e6
    samples, lengths = torch.from_numpy(speech[:16000])[None], torch.tensor([16000])
    x, n = model(samples, lengths)
    for head in model.heads.values():
        losses = head.losses(x, n, torch.tensor([[3]]), torch.tensor([1]))  # a label too
        mean_per_token(losses, torch.tensor([1]))[0].backward(retain_graph=True)
    gradients = [p.grad for p in model.parameters()]
    assert all(g is not None and torch.isfinite(g).all() for g in gradients) and any(g.any() for g in gradients)


def test_a_recipe_trains_without_a_word_on_the_tokenizer(tmp_path, capsys):
    write_data_dir(tmp_path / "data", read_data_dir(RECORDINGS)[::300])
    config = load_config(RunConfig, ROOT / "recipes/lstm_ctc.yaml", [*SMALL, "trainer.precision=fp32"])
    train(config, tmp_path / "data", tmp_path / "data", tmp_path / "run")
    assert re.search(r"tokenizer: bpe, \d+ pieces \(tokenizer\.size is not set: 500", capsys.readouterr().out)
    (tmp_path / "run/tokenizer/tokenizer.yaml").write_text("kind: bpe\nnormalize: {case: lower}\n")
    with pytest.raises(ConfigError, match=r"run/tokenizer: this tokenizer has tokenizer\.normalize\.case=lower"):
        train(
            config.model_copy(update={"trainer": config.trainer.model_copy(update={"max_epochs": 2})}),
            tmp_path / "data",
            tmp_path / "data",
            tmp_path / "run",
        )
