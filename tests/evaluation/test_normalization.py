"""The word error rate of `audiorec score` is that of the training's validation: both normalise the texts alike."""

import json

import pytest

from audiorec.audio.read import write
from audiorec.config import parse
from audiorec.data.kaldi import Utterance, write_data_dir
from audiorec.models import load_model
from audiorec.recognizer import load
from audiorec.text import save_tokenizer
from audiorec.training.config import RunConfig
from audiorec.training.run import train
from tests.command import here
from tests.conftest import TINY


def run(*arguments: object) -> str:
    done = here(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def data(model_dir, tmp_path_factory, speech):
    """Utterances whose texts are the model's words in upper case, one of them wrong."""
    folder, recognizer, utterances = tmp_path_factory.mktemp("data"), load(model_dir), []
    for i in range(6):
        samples = speech[i * 16000 : (i + 1) * 16000]
        write(folder / f"u{i}.wav", samples, 8000)
        text = recognizer.transcribe(folder / f"u{i}.wav").text.upper()
        assert text
        utterances.append(
            Utterance(f"u{i}", f"u{i}", folder / f"u{i}.wav", 0.0, None, text + " TEN" * (i == 0), "theo")
        )
    write_data_dir(folder / "dev", utterances)
    return folder / "dev"


def test_training_and_score_agree(model_dir, data, tmp_path):
    """A training that changes nothing: it begins with the model, and its steps are too small."""
    settings = {"kind": "word", "normalize": {"case": "lower"}}
    trainer = {"init_from": model_dir, "max_epochs": 1, "monitor": "valid_wer", "accelerator": "cpu"}
    config = parse(RunConfig, {**TINY, "tokenizer": settings, "trainer": trainer, "optimizer": {"lr": 1e-12}})
    save_tokenizer(tmp_path / "tokenizer", load_model(model_dir)[1], config.tokenizer)
    train(config, data, data, tmp_path / "run", tmp_path / "tokenizer", quiet=True)
    (checkpoint,) = (tmp_path / "run/checkpoints").glob("epoch*.ckpt")
    valid_wer = float(checkpoint.stem.rpartition("=")[2])
    out = tmp_path / "out"
    run("decode", tmp_path / "run", "--data", data, "--out", out)
    assert "without normalisation" not in run("score", data, out)
    scored = json.loads((out / "score.json").read_text())
    assert 0 < valid_wer < 0.5 and scored["wer"] == pytest.approx(valid_wer, abs=1e-5)
    assert scored["normalize"] == config.tokenizer.normalize.model_dump()
    assert "1 errors in" in (out / "alignments.txt").read_text().splitlines()[0]
    run("score", data, out, "--raw")
    scored = json.loads((out / "score.json").read_text())
    assert scored["wer"] >= 1 and scored["normalize"] is None
    texts = data / "text", out / "text"
    assert "without normalisation" in run("score", *texts), "two files tell of no normalisation"
    assert "(1 errors in" in run("score", *texts, "--model", tmp_path / "run")
