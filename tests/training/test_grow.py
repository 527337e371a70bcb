"""An encoder that grows: what takes part, what it equals, and a run that was cut off while it grew."""

import shutil

import pytest
import torch

from audiorec.encoders.stack import Stack
from audiorec.errors import ConfigError
from audiorec.models import AsrModel
from audiorec.training.checkpoints import best_checkpoints, read_checkpoint
from audiorec.training.grow import layers_of
from audiorec.training.module import Training
from audiorec.training.run import train
from tests.training.conftest import recipe

DEEP = 'encoder={"kind":"lstm","dim":16,"layers":3,"strides":[3],"reduce_after":[1]}'
GROWING = [DEEP, "trainer.max_epochs=4", "trainer.grow={from_layers: 1, epochs: 1}"]


def weights(run) -> dict:
    return read_checkpoint(run / "checkpoints/last.ckpt")["state_dict"]


@pytest.fixture(scope="module")
def grown(data, tmp_path_factory):
    """A run that keeps the checkpoint after each epoch, and the members that had gradients in each."""
    out, trained = tmp_path_factory.mktemp("grown"), {}
    begin = Training.on_train_epoch_start

    def keep(self):
        if self.current_epoch:
            shutil.copy(out / "checkpoints/last.ckpt", out / f"{self.current_epoch}.ckpt")
        begin(self)

    def note(self, optimizer):
        names = {name.split(".")[0] for name, p in self.model.encoder.named_parameters() if p.grad is not None}
        trained.setdefault(self.current_epoch, names)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "on_before_optimizer_step", note)
        patch.setattr(Training, "on_train_epoch_start", keep)
        train(recipe(*GROWING), data / "train", data / "dev", out, quiet=True)
    return out, trained


def test_layers_take_part_from_the_bottom_up(grown):
    always = {"subsampling", "reduction0", "norm"}
    assert grown[1] == {
        0: {*always, "layer0"},
        1: {*always, "layer0", "layer1"},
        2: {*always, "layer0", "layer1", "layer2"},
        3: {*always, "layer0", "layer1", "layer2"},
    }


def test_a_layer_stays_as_it_began_until_it_takes_part(grown):
    first, second, last = (read_checkpoint(grown[0] / f"{n}.ckpt")["state_dict"] for n in (1, 2, 3))
    for layer, same in (("layer0", False), ("layer1", False), ("layer2", True)):
        name = f"model.encoder.{layer}.mixer.weights.weight_hh_l0"
        assert torch.equal(first[name], second[name]) == same and not torch.equal(second[name], last[name])


def test_only_whole_models_are_ranked(grown):
    checkpoints = [read_checkpoint(path)["epoch"] for path in best_checkpoints(grown[0] / "checkpoints")]
    assert sorted(checkpoints) == [2, 3]


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_run_cut_off_while_it_grew_ends_with_the_same_weights(data, grown, tmp_path, epoch):
    (tmp_path / "checkpoints").mkdir()
    shutil.copy(grown[0] / "config.yaml", tmp_path)
    shutil.copytree(grown[0] / "tokenizer", tmp_path / "tokenizer")
    shutil.copy(grown[0] / f"{epoch}.ckpt", tmp_path / "checkpoints/last.ckpt")
    train(recipe(*GROWING), data / "train", data / "dev", tmp_path, quiet=True)
    whole, resumed = weights(grown[0]), weights(tmp_path)
    assert whole.keys() == resumed.keys() and all(torch.equal(whole[key], resumed[key]) for key in whole)


@pytest.mark.parametrize("kind", ["lstm", "min_gru", "mamba", "transformer", "conformer"])
@torch.no_grad()
def test_a_stack_with_layers_left_out_is_a_shallower_one(kind):
    deep, shallow = (
        AsrModel(recipe(f'encoder={{"kind":"{kind}","dim":16,"layers":{layers},"strides":[2]}}'), 5).eval()
        for layers in (3, 2)
    )
    shallow.load_state_dict({name: value for name, value in deep.state_dict().items() if name in shallow.state_dict()})
    samples, lengths = torch.randn(2, 4000), torch.tensor([4000, 3000])
    whole = deep(samples, lengths)[0]
    deep.encoder.skip(["layer2"])
    assert torch.equal(deep(samples, lengths)[0], shallow(samples, lengths)[0])
    assert deep.encoder.lookahead == shallow.encoder.lookahead
    deep.encoder.skip([])
    assert torch.equal(deep(samples, lengths)[0], whole)


@torch.no_grad()
def test_a_head_on_a_layer_left_out_reads_the_last_that_takes_part():
    heads = 'heads={"ctc": {}, "early": {"kind": "ctc", "at": "layer1"}}'
    model = AsrModel(recipe(DEEP.replace("[1]", "[]"), heads), 5).eval()
    samples, lengths = torch.randn(2, 4000), torch.tensor([4000, 3000])
    model.encoder.skip(["layer1", "layer2"])
    frames = model.frames(samples, lengths)
    assert torch.equal(frames["early"][0], frames["ctc"][0]) and torch.equal(
        frames["ctc"][0], model(samples, lengths)[0]
    )


def test_what_belongs_to_a_layer_is_left_out_with_it():
    model = AsrModel(recipe('encoder={"kind":"lmu","dim":16,"layers":2,"arrangement":"lmuformer","strides":[2]}'), 5)
    assert isinstance(model.encoder, Stack) and layers_of(model.encoder) == [["layer0", "mixer0"], ["layer1", "mixer1"]]


@pytest.mark.parametrize(
    "settings, fault",
    [
        (["trainer.grow={from_layers: 3}"], r"trainer\.grow\.from_layers: the encoder has 3 layers"),
        (["trainer.max_epochs=2"], r"trainer\.grow: all 3 layers take part from epoch 3 on, and training ends with epoch 2"),
        (["trainer.max_steps=1"], r"all 3 layers take part from epoch 3 on, and training ends with epoch 1"),
        (['encoder={"kind":"blstm","dim":16,"layers":3,"strides":[3]}'], r"trainer\.grow: this encoder has no layers"),
    ],
)  # fmt: skip
def test_a_schedule_that_cannot_be_kept_is_refused(data, tmp_path, settings, fault):
    with pytest.raises(ConfigError, match=fault):
        train(recipe(*GROWING, *settings), data / "train", data / "dev", tmp_path, quiet=True)


def test_patience_begins_with_the_whole_model(data, tmp_path):
    settings = ["trainer.monitor=valid_wer", "trainer.patience=1", "optimizer.lr=1e-12", "trainer.max_epochs=6"]
    train(recipe(*GROWING, *settings), data / "train", data / "dev", tmp_path, quiet=True)
    epochs = [read_checkpoint(path)["epoch"] for path in best_checkpoints(tmp_path / "checkpoints")]
    assert sorted(epochs) == [2, 3], "nothing is learnt, so the epoch after the first whole one is the last"
