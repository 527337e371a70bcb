"""Two views of each utterance: what they draw, how far they are apart, and the training that brings them together."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from audiorec.audio.spec_augment import spec_augment
from audiorec.data.batches import Batch
from audiorec.data.targets import Targets
from audiorec.errors import ConfigError
from audiorec.models import AsrModel
from audiorec.training.checkpoints import read_checkpoint
from audiorec.training.consistency import disagreement, twice
from audiorec.training.run import train
from tests.training.conftest import recipe

MASKS = "spec_augment.time_masks=2", "spec_augment.time_share=0.5"
TWO_HEADS = "heads={ctc: {weight: 1}, middle: {kind: ctc, at: layer0, weight: 0.5}}"


def batch() -> Batch:
    torch.manual_seed(0)
    tokens = Targets(torch.tensor([[1, 2, 3], [2, 1, 0]]), torch.tensor([3, 2]))
    return Batch(torch.randn(2, 8000), torch.tensor([8000, 5000]), {"text": tokens}, [7, 8], ["a", "b"], ["x", "y"])


def masked(model: AsrModel, views: Batch, config):
    augment = partial(spec_augment, seeds=views.seeds, config=config.spec_augment)
    return model.frames(views.samples, views.lengths, augment=augment)


def test_the_views_are_the_same_audio_under_other_masks():
    config, views = recipe(*MASKS).spec_augment, twice(batch())
    assert torch.equal(views.samples[:2], views.samples[2:]) and views.ids == ["a", "b", "a", "b"]
    assert torch.equal(views.targets["text"].values[2:], batch().targets["text"].values)
    assert views.seeds == twice(batch()).seeds and len(set(views.seeds)) == 4
    features = spec_augment(torch.ones(4, 100, 20), torch.full((4,), 100), views.seeds, config)
    assert not torch.equal(features[0], features[2]) and not torch.equal(features[1], features[3])


def test_they_are_apart_by_the_divergence_of_valid_frames_of_all_ctc_heads():
    config, views = recipe(*MASKS, TWO_HEADS), twice(batch())
    model = AsrModel(config, 6).eval()
    alike = disagreement(model, model.frames(views.samples, views.lengths))
    assert float(alike.detach()) == pytest.approx(0, abs=1e-5)
    frames, wanted = masked(model, views, config), 0.0
    for name, (x, lengths) in frames.items():
        scores = model.heads[name](x).detach()
        for row in range(2):
            one, other = (scores[place, : lengths[row]] for place in (row, row + 2))
            for a, b in ((one, other), (other, one)):
                wanted += float(F.kl_div(a, b, reduction="sum", log_target=True)) / 2
    apart = disagreement(model, frames)
    assert float(apart.detach()) == pytest.approx(wanted, rel=1e-4) and wanted > 1e-3
    apart.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_training_brings_the_views_together_and_counts_audio_once(data, tmp_path):
    apart, seconds = {}, {}
    for weight in ("null", "5"):
        fast = "trainer.max_epochs=6", "optimizer.warmup_steps=2", "optimizer.lr=1e-2"
        config = recipe(*MASKS, *fast, f"trainer.consistency={weight}")
        train(config, data / "train", data / "dev", tmp_path / weight, quiet=True)
        checkpoint = read_checkpoint(tmp_path / weight / "checkpoints/last.ckpt")
        weights = {name.removeprefix("model."): value for name, value in checkpoint["state_dict"].items()}
        model = AsrModel(config, len(weights["heads.ctc.linear.bias"])).eval()
        model.load_state_dict(weights)
        apart[weight] = float(disagreement(model, masked(model, twice(batch()), config)).detach())
        history = next(state["history"] for state in checkpoint["callbacks"].values() if "history" in state)
        seconds[weight] = [row["audio_seconds"] for row in history]
    assert apart["5"] < 0.7 * apart["null"] and seconds["5"] == seconds["null"]


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ((), "needs masks"),
        ((*MASKS, "heads={transducer: {}}"), "add a ctc head"),
        ((*MASKS, "trainer.consistency=0"), "greater"),
    ],
)
def test_what_it_needs_is_said(settings, fault):
    masks_off = "spec_augment.time_masks=0", "spec_augment.frequency_masks=0"
    with pytest.raises(ConfigError, match=rf"trainer.*{fault}"):
        recipe("trainer.consistency=0.2", *masks_off, *settings)
