"""A transducer that learns along a trained model's paths: which paths, the training, and what does not fit together."""

import pytest
import torch

from audiorec.data.batches import Batch
from audiorec.data.targets import Targets
from audiorec.errors import ConfigError, UserError
from audiorec.models import AsrModel, load_model, save_model
from audiorec.models.transducer import TransducerHead
from audiorec.training.aligner import Aligner
from audiorec.training.checkpoints import read_checkpoint
from audiorec.training.run import train
from tests.training.conftest import recipe

TRANSDUCER = 'heads={"transducer":{"joiner_dim":16,"loss":{"kind":"viterbi","rnnt_type":"%s"}}}'
ONE_A_FRAME = TRANSDUCER % "modified"


def test_each_row_has_its_own_best_path(model_dir, speech):
    """Of the plain samples; a CTC head aligns as well as a transducer. A row that is too short has no path."""
    model, tokenizer, _ = load_model(model_dir)
    aligner = Aligner(model_dir, AsrModel(recipe(ONE_A_FRAME), tokenizer.size).train(), tokenizer)
    sizes, counts = [8000, 5000, 200], [2, 0, 2]
    samples = torch.from_numpy(speech[:24000].reshape(3, 8000).copy())
    tokens = torch.tensor([[3, 4], [0, 0], [5, 6]])
    batch = Batch(samples, torch.tensor(sizes), {"text": Targets(tokens, torch.tensor(counts))}, [], [], [])
    path = aligner.paths(batch)["transducer"]
    for row, (size, count) in enumerate(zip(sizes, counts, strict=True)):
        x, lengths = model(samples[row : row + 1, :size], torch.tensor([size]))
        alone = model.head().align(x, lengths, tokens[row : row + 1, :count], torch.tensor([count]))
        assert float(path.scores[row]) == pytest.approx(float(alone.scores), rel=1e-4)
        if alone.scores > -torch.inf:
            assert path.starts[row, :count].tolist() == alone.starts[0].tolist()
    assert torch.isinf(path.scores).tolist() == [False, False, True]


def test_a_training_follows_the_aligner_which_is_in_no_checkpoint(data, model_dir, tmp_path, monkeypatch):
    def fail(*given):
        raise AssertionError("its own path was looked for")

    monkeypatch.setattr(TransducerHead, "align", fail)
    config = recipe(ONE_A_FRAME, "trainer.max_epochs=2", "data.batch_seconds=3", f"trainer.aligner={model_dir}")
    train(config, data / "train", data / "dev", tmp_path, model_dir, quiet=True)
    checkpoint = read_checkpoint(tmp_path / "checkpoints/last.ckpt")
    model = AsrModel(config, load_model(model_dir)[1].size)
    assert checkpoint["state_dict"].keys() == {f"model.{name}" for name in model.state_dict()}
    losses = [row["train_loss"] for row in checkpoint["callbacks"]["Reporter"]["history"]]
    assert losses[0] > losses[1] > 0
    assert load_model(tmp_path)[2].heads["transducer"].loss.kind == "viterbi"


def test_an_aligner_of_several_symbols_a_frame_needs_such_a_lattice(model_dir, tmp_path):
    tokenizer = load_model(model_dir)[1]
    regular, modified = (recipe(TRANSDUCER % kind) for kind in ("regular", "modified"))
    for name, config in (("regular", regular), ("modified", modified)):
        model = AsrModel(config, tokenizer.size)
        save_model(tmp_path / name, model, config.model_config_only(), tokenizer, "# small\n")
    for aligner, config in (("regular", regular), ("modified", regular), ("modified", modified)):
        assert Aligner(tmp_path / aligner, AsrModel(config, tokenizer.size), tokenizer).heads == {"transducer"}
    with pytest.raises(UserError, match=r"^trainer\.aligner: .*several symbols .*heads\.transducer\.loss .*rnnt_type"):
        Aligner(tmp_path / "regular", AsrModel(modified, tokenizer.size), tokenizer)


@pytest.mark.parametrize(
    "settings, fault",
    [
        (['encoder={"kind":"gru","dim":8,"strides":[2]}', ONE_A_FRAME], r"has a frame every 30 ms, and this model every 20 ms"),
        (["features.sample_rate=16000", ONE_A_FRAME], r"hears 8000 Hz, and features\.sample_rate is 16000"),
        (["heads=transducer"], r"no head of this recipe has the loss viterbi"),
    ],
)  # fmt: skip
def test_an_aligner_that_does_not_fit_is_refused(model_dir, settings, fault):
    tokenizer, config = load_model(model_dir)[1], recipe(*settings)
    with pytest.raises(UserError, match=r"^trainer\.aligner: .*" + fault):
        Aligner(model_dir, AsrModel(config, tokenizer.size), tokenizer)


def test_an_aligner_without_times_is_refused(model_dir, tmp_path):
    tokenizer, config = load_model(model_dir)[1], recipe("heads=classify")
    save_model(tmp_path / "one", AsrModel(config, tokenizer.size), config.model_config_only(), tokenizer, "# one\n")
    with pytest.raises(UserError, match=r"trainer\.aligner: .*one has the heads classify, and none can align"):
        Aligner(tmp_path / "one", AsrModel(recipe(ONE_A_FRAME), tokenizer.size), tokenizer)


def test_a_recipe_that_names_its_aligner_asks_for_it(data, tmp_path):
    config = recipe(ONE_A_FRAME, "trainer.aligner_recipe=lstm_rnnt")
    with pytest.raises(
        ConfigError, match=r"^trainer\.aligner: this recipe learns the paths of a trained lstm_rnnt; give"
    ):
        train(config, data / "train", data / "dev", tmp_path, quiet=True)
