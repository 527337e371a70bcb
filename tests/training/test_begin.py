"""``trainer.init_from``: what a training takes over from a trained model, and what it does not."""

from pathlib import Path

import pytest
import torch

from audiorec.config import load_config
from audiorec.data.kaldi import read_data_dir, write_data_dir
from audiorec.errors import UserError
from audiorec.models import AsrModel, load_model
from audiorec.text import train_tokenizer
from audiorec.training.begin import begin_from
from audiorec.training.config import RunConfig
from audiorec.training.run import train
from tests.conftest import RECORDINGS, ROOT, WORDS

LIKE = [
    "features.sample_rate=8000",
    "features.bins=20",
    "tokenizer.kind=word",
    'encoder={"kind":"lstm","dim":16,"layers":2,"strides":[3]}',
]
TOKENIZER = train_tokenizer("word", [WORDS])


def recipe(*settings: str) -> RunConfig:
    return load_config(RunConfig, ROOT / "recipes/lstm_ctc.yaml", [*LIKE, *settings])


@pytest.mark.parametrize("settings, tokenizer, anew", [
    ([], TOKENIZER, []),
    ([], train_tokenizer("word", [WORDS.replace("zero", "oh")]), ["heads.ctc.linear"]),
    (["encoder.layers=3"], TOKENIZER, ["encoder.layer2"]),
    (["heads=transducer"], TOKENIZER, ["heads.transducer"]),
], ids=["alike", "other pieces", "a layer more", "another head"])  # fmt: skip
def test_what_fits_is_taken_over_and_the_rest_is_named(model_dir, settings, tokenizer, anew):
    config = recipe(*settings)
    model, before = AsrModel(config, tokenizer.size), load_model(model_dir)[0].state_dict()
    untouched = {name: value.clone() for name, value in model.state_dict().items()}
    named = begin_from(model_dir, model, config, tokenizer)
    for name, value in model.state_dict().items():
        new = any(name.startswith(layer) for layer in named) or not value.is_floating_point()
        assert torch.equal(value, untouched[name] if new else before[name]), name
    assert named if anew else not named
    assert all(any(layer.startswith(prefix) for prefix in anew) for layer in named)


@pytest.mark.parametrize("settings, message", [
    (["features.bins=21"], r"config\.yaml: its features are not this recipe's"),
    (["encoder.dim=24"], "nothing of its encoder fits"),
    (["encoder.kind=min_gru", "encoder.dim=24"], "nothing of its encoder fits"),
])  # fmt: skip
def test_a_model_that_does_not_fit_is_refused(model_dir, settings, message):
    config = recipe(*settings)
    with pytest.raises(UserError, match=message):
        begin_from(model_dir, AsrModel(config, TOKENIZER.size), config, TOKENIZER)


def test_training_begins_there_and_a_wrong_path_is_corrected_by_the_next_command(model_dir, tmp_path, capsys):
    clips = read_data_dir(RECORDINGS)
    write_data_dir(tmp_path / "train", clips[::60])
    write_data_dir(tmp_path / "dev", clips[1::200])
    TOKENIZER.save(tmp_path / "tokenizer")

    def trained(source: Path) -> Path:
        still = ["optimizer.lr=1e-12", "trainer.max_epochs=1", "trainer.accelerator=cpu", f"trainer.init_from={source}"]
        return train(recipe(*still), tmp_path / "train", tmp_path / "dev", tmp_path / "run", tmp_path / "tokenizer")

    with pytest.raises(UserError, match="nowhere: no such model directory"):
        trained(tmp_path / "nowhere")
    after, before = (load_model(folder)[0].state_dict() for folder in (trained(model_dir), model_dir))
    for name, value in after.items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=1e-6)
    assert f"beginning with {model_dir}; at random: nothing" in capsys.readouterr().out
