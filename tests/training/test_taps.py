"""A hybrid whose heads read different layers, trained from recipe to words."""

import torch

import audiorec
from audiorec.training.run import train
from tests.training.conftest import recipe


def test_heads_on_different_layers_train_together(data, speech, tmp_path):
    heads = 'heads={"ctc": {}, "early": {"kind": "ctc", "at": "layer0", "weight": 0.5}}'
    train(recipe(heads, "trainer.max_epochs=3"), data / "train", data / "dev", tmp_path / "run", quiet=True)
    history = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["callbacks"]["Reporter"]["history"]
    assert history[-1]["train_loss"] < history[0]["train_loss"] and history[-1]["valid_loss"] < history[0]["valid_loss"]
    assert "heads ctc, early (ctc) at layer0" in (tmp_path / "run/model/README.md").read_text()
    for head in ("ctc", "early"):
        recognizer = audiorec.load(tmp_path / "run", head=head)
        assert recognizer.transcribe(speech[:8000]).segments == recognizer.transcribe_batch([speech[:8000]])[0].segments
