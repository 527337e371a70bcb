"""``audiorec train`` of a language model: it learns, goes on where it stopped, is measured, and refuses what is not its."""

import math
import random

import pytest
import torch
from typer.testing import CliRunner

from audiorec.cli import app
from audiorec.errors import ConfigError, UserError
from audiorec.evaluation.language import predicted
from audiorec.models import load_language_model
from audiorec.models.language import pad
from audiorec.training.checkpoints import model_weights, read_checkpoint
from audiorec.training.loop import fit

RECIPE = """
language: {dim: 16, pattern: [lstm], dropout: 0.1}
tokenizer: {kind: bpe, size: 24}
texts: {batch_tokens: 200, buckets: 3}
optimizer: {lr: 1.0e-2, warmup_steps: 5}
trainer: {max_epochs: 2}
"""


def run(*arguments) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Texts in which two follows one and four follows three; one of them is a Kaldi text, whose ids are no words."""
    folder, draw = tmp_path_factory.mktemp("lm"), random.Random(0)
    lines = [" ".join(draw.choice(["one two", "three four"]) for _ in range(draw.randint(1, 4))) for _ in range(150)]
    (folder / "a.txt").write_text("\n".join(lines[:100]) + "\n\n")
    (folder / "kaldi").mkdir()
    (folder / "kaldi/text").write_text("".join(f"utt{i} {line}\n" for i, line in enumerate(lines[100:130])))
    (folder / "dev.txt").write_text("\n".join(lines[130:]) + "\n")
    (folder / "lm.yaml").write_text(RECIPE)
    train(folder, "run")
    return folder


def train(folder, out, *settings):
    texts = ["--train", folder / "a.txt", "--train", folder / "kaldi/text", "--valid", folder / "dev.txt"]
    return run("train", folder / "lm.yaml", *settings, *texts, "--out", folder / out)


def test_it_learns_and_says_how_well_as_a_plain_sum_has_it(folder):
    model, tokenizer, _ = load_language_model(folder / "run")
    lines = (folder / "dev.txt").read_text().split("\n")[:-1]
    loss = sum(float(model.losses(*pad([tokenizer.encode(line)]))) for line in lines)
    words, pieces = sum(len(line.split()) for line in lines), sum(len(tokenizer.encode(line)) for line in lines)
    found = predicted(folder / "run", {"dev": lines})["dev"]
    assert found.per_word == pytest.approx(math.exp(loss / (words + len(lines))), rel=1e-4)
    assert found.per_piece == pytest.approx(math.exp(loss / (pieces + len(lines))), rel=1e-4)
    assert found.per_piece < tokenizer.size / 2
    assert f"perplexity {found.per_word:.2f} a word" in run("perplexity", folder / "run", folder / "dev.txt")
    assert "perplexity" in (folder / "run/train.log").read_text() and (folder / "run/curves.png").exists()
    assert run("average", folder / "run", "--best", 2).strip() == str(folder / "run/model")


def test_several_batches_may_make_one_step(folder):
    train(folder, "accumulated", "trainer.accumulate=2", "trainer.max_epochs=1")
    assert (folder / "accumulated/model").is_dir()


def test_a_run_that_goes_on_ends_as_one_that_was_not_cut(folder, monkeypatch):
    def cut(trainer, training, last):
        trainer.fit_loop.max_epochs = 1
        fit(trainer, training, last)

    with monkeypatch.context() as patched:
        patched.setattr("audiorec.training.language.fit", cut)
        train(folder, "cut")
    assert read_checkpoint(folder / "cut/checkpoints/last.ckpt")["epoch"] == 0
    train(folder, "cut")
    one, two = (model_weights(read_checkpoint(folder / name / "checkpoints/last.ckpt")) for name in ("run", "cut"))
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        (["trainer.freeze=[body]"], "trainer.freeze: is of recognisers"),
        (["trainer.monitor=valid_wer"], "trainer.monitor"),
        (["optimizer.layer_decay=0.5"], "optimizer.layer_decay"),
        (["tokenizer={kind: phone, lexicon: x}"], "a language model predicts pieces of text"),
        (["--allow-pipes"], "reads texts alone"),
    ],
)
def test_what_has_no_meaning_is_refused(folder, settings, fault):
    with pytest.raises(ConfigError, match=fault):
        train(folder, "refused", *settings)


def test_no_text_is_one_clear_error(folder):
    (folder / "empty.txt").write_text("\n\n")
    with pytest.raises(UserError, match=r"empty\.txt: there is no text to score"):
        run("perplexity", folder / "run", folder / "empty.txt")
    with pytest.raises(ConfigError, match="leave --tokenizer and --case out"):
        run("perplexity", folder / "run", folder / "dev.txt", "--case", "lower")
