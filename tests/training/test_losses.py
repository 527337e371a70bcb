"""Training and validation loss: sums of losses over sums of tokens; utterances without a path are named and counted."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from audiorec.data.kaldi import read_data_dir, write_data_dir
from audiorec.errors import UserError
from audiorec.training.run import train
from audiorec.training.tally import LossTally
from tests.training.conftest import recipe


def history(run: Path) -> dict:
    """The last epoch's figures."""
    callbacks = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["callbacks"]
    return callbacks["Reporter"]["history"][-1]


def test_the_loss_does_not_depend_on_batches_and_is_the_same_in_training_and_validation(data, model_dir, tmp_path):
    still = ["tokenizer.kind=char", "trainer.max_epochs=1", "optimizer.lr=1e-12", f"trainer.init_from={model_dir}"]
    still += ["encoder.dropout=0", "augment={}", "spec_augment={}"]
    losses = []
    for seconds in (1, 20):
        run = tmp_path / str(seconds)
        train(recipe(*still, f"data.batch_seconds={seconds}"), data / "dev", data / "dev", run, quiet=True)
        losses += [history(run)[name] for name in ("train_loss", "valid_loss")]
    assert losses == pytest.approx([losses[0]] * 4, rel=1e-5)


@pytest.mark.parametrize("part", ["train", "dev"])
def test_utterances_without_a_path_are_counted_and_named(data, tmp_path, capsys, part):
    for name in ("train", "dev"):
        utterances = read_data_dir(data / name)
        if name == part:
            utterances = [replace(u, text=f"{u.text} " * 60) if i < 12 else u for i, u in enumerate(utterances)]
        write_data_dir(tmp_path / name, utterances)
    long = [u.id for u in read_data_dir(tmp_path / part)[:12]]
    train(recipe("trainer.max_epochs=2"), tmp_path / "train", tmp_path / "dev", tmp_path / "run")
    shown, log = capsys.readouterr().out, (tmp_path / "run/train.log").read_text()
    which = "train" if part == "train" else "valid"
    assert history(tmp_path / "run")[f"{which}_dropped"] == 12 and shown.count(f"without a path: 12 {which}\n") == 2
    assert shown.count("no path in") == 1 and shown.count(" and 2 more (all in ") == 1
    assert sum(name in shown for name in long) == 10 and all(name in log for name in long)


def test_data_without_any_path_is_an_error(data, tmp_path):
    write_data_dir(tmp_path / "dev", [replace(u, text=f"{u.text} " * 60) for u in read_data_dir(data / "dev")])
    with pytest.raises(UserError, match=r"^validation: no utterance has a path"):
        train(recipe(), data / "train", tmp_path / "dev", tmp_path / "run", quiet=True)
    assert not (tmp_path / "run/checkpoints").exists()


def test_a_tally_weighs_heads_and_leaves_out_rows_head_by_head():
    tally = LossTally([1.0, 0.5])
    tally.add("step 1", ["a", "b"], torch.tensor([[4.0, torch.inf], [2.0, 3.0]]), torch.tensor([2, 3]))
    tally.add("step 2", ["c"], torch.tensor([[6.0], [1.0]]), torch.tensor([1]))
    tally.read()
    assert tally.mean("training") == pytest.approx((4 + 6) / 3 + 0.5 * (2 + 3 + 1) / 6)
    assert tally.batch_losses == pytest.approx([4 / 2 + 0.5 * 5 / 5, 6 + 0.5 * 1])
    assert tally.without_path == ["b"]
