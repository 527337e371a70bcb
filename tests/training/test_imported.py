"""An imported model is trained on: its config is the recipe; a new tokenizer or its own, frozen layers, adapters."""

import pytest
import torch

import audiorec
from audiorec.audio.resample import Resampler
from audiorec.config import load_config
from audiorec.importing import import_model
from audiorec.models import load_model
from audiorec.training.config import RunConfig
from audiorec.training.run import train
from tests.importing import icefall
from tests.importing.nemo import GOLDEN

FEW = "trainer.max_epochs=1", "trainer.accelerator=cpu", "data.batch_seconds=8", "optimizer.warmup_steps=2"


@pytest.fixture(params=["nemo", "icefall"])
def source(request, tmp_path):
    """The folder of an imported model of random weights."""
    source = (
        GOLDEN / "hybrid.nemo" if request.param == "nemo" else icefall.write(tmp_path / "icefall", icefall.weights())
    )
    import_model(source, tmp_path / "model")
    return tmp_path / "model"


def test_it_trains_with_a_new_tokenizer_frozen_layers_and_adapters(source, data, tmp_path, speech):
    settings = [
        f"trainer.init_from={source}",
        "trainer.freeze=['encoder.subsampling', 'encoder.layer[0-0]']",
        "trainer.lora={rank: 2, alpha: 4, modules: [encoder.layer1]}",
        "optimizer.layer_decay=0.9",
        "tokenizer={kind: word}",
    ]
    config = load_config(RunConfig, source / "config.yaml", [*FEW, *settings])
    model = train(config, data / "train", data / "dev", tmp_path / "run", quiet=True)
    (before, _, _), (after, tokenizer, _) = load_model(source), load_model(model)
    assert tokenizer.kind == "word" and before.state_dict().keys() == after.state_dict().keys()
    changed = set()
    for name, value in before.state_dict().items():
        if name.startswith(("encoder.subsampling.", "encoder.layer0.")):
            assert torch.equal(after.state_dict()[name], value), name
        elif not name.startswith("heads.") and not torch.equal(after.state_dict()[name], value):
            changed.add(name)
    assert any(name.endswith("weight") for name in changed)
    streams_what_it_says(model, speech)


def test_it_trains_with_its_own_tokenizer_and_begins_where_it_was(source, data, tmp_path):
    settings = [f"trainer.init_from={source}", "optimizer.lr=1e-12"]
    config = load_config(RunConfig, source / "config.yaml", [*FEW, *settings])
    model = train(config, data / "train", data / "dev", tmp_path / "run", source, quiet=True)
    before, after = (load_model(folder)[0].state_dict() for folder in (source, model))
    for name, value in before.items():
        if value.is_floating_point():
            torch.testing.assert_close(after[name], value, rtol=0, atol=1e-6)


def streams_what_it_says(folder, speech) -> None:
    recognizer = audiorec.load(folder)
    resampler = Resampler(8000, recognizer.sample_rate)
    samples = resampler.push(speech[:24000])
    stream = recognizer.stream()
    for start in range(0, len(samples), 1700):
        stream.accept(samples[start : start + 1700])
    assert stream.finish().segments == recognizer.transcribe_batch([samples])[0].segments
