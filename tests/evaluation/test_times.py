"""The delay of a model, measured; and how far times are from a reference."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from audiorec.audio.read import write
from audiorec.cli import app
from audiorec.data.kaldi import Utterance, write_data_dir
from audiorec.errors import UserError
from audiorec.evaluation.ctm import TimedWord, read_ctm
from audiorec.evaluation.times import measure_delay, time_errors
from audiorec.models import read_delays
from audiorec.text import Normalizer
from audiorec.transcript import Piece, Result, Segment
from audiorec.transcript.formats import ctm_line
from tests.conftest import ROOT

WORDS = ["One", "two", "three"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Utterances of three words, loud from 0.5 s on to 1.5 s, later by 10 ms each; the last one begins and ends loud."""
    folder, utterances = tmp_path_factory.mktemp("data"), []
    for i in range(13):
        samples = np.full(16800, 1e-4, np.float32)
        samples[4000 + 80 * i : 12000 + 80 * i] = 0.1
        if i == 12:
            samples[:] = 0.1
        write(folder / f"{i:02d}.wav", samples, 8000)
        utterances.append(Utterance(f"{i:02d}", f"{i:02d}", folder / f"{i:02d}.wav", 0.0, None, " ".join(WORDS), "a"))
    write_data_dir(folder / "all", utterances)
    return folder / "all"


def late(words: list[str]) -> SimpleNamespace:
    """A recogniser that finds these words, the first 0.4 s after its begin and the last 0.1 s before its end."""

    def transcribe_batch(batch: list[np.ndarray]) -> list[Result]:
        results = []
        for samples in batch:
            begin = np.abs(samples).argmax() / 8000
            starts = [begin + 0.4, begin + 0.6, begin + 0.86]
            pieces = [Piece(word, start, start + 0.04) for word, start in zip(words, starts, strict=True)]
            results.append(Result([Segment(" ".join(words), pieces, pieces)]))
        return results

    words_alone = SimpleNamespace(expected=str)
    return SimpleNamespace(sample_rate=8000, transcribe_batch=transcribe_batch, tokenizer=words_alone)


def test_the_delay_is_that_of_first_and_last_words_beside_silence(data):
    normalize = Normalizer(case="lower")
    delay = measure_delay(late(["one", "two", "three"]), data, normalize)
    assert delay.begin == pytest.approx((-0.4, -0.4, -0.4)) and delay.end == pytest.approx((0.1, 0.1, 0.1))
    assert delay.words == 12
    assert measure_delay(late(["one", "nine", "three"]), data, normalize) == delay
    for wrong in (["nine", "two", "three"], ["one", "two", "nine"]):
        assert measure_delay(late(wrong), data, normalize) is None


def test_the_command_measures_or_says_why_not(model_dir, data, tmp_path, monkeypatch):
    model = shutil.copytree(model_dir, tmp_path / "m")
    done = CliRunner().invoke(app, ["times", str(model), "--data", str(data)])
    assert isinstance(done.exception, UserError) and "no delay could be measured" in str(done.exception)
    assert "ctc: words have the times of their tokens" in done.stdout and read_delays(model) == {}
    monkeypatch.setattr("audiorec.recognizer.load", lambda *_: SimpleNamespace(model=SimpleNamespace(latencies=[])))
    right = late(["one", "two", "three"])
    expected = measure_delay(right, data, Normalizer(case="lower"))
    monkeypatch.setattr("audiorec.evaluation.times.measure_delay", lambda *_: expected)
    done = CliRunner().invoke(app, ["times", str(model), "--data", str(data)])
    assert done.exit_code == 0 and "-0.40 s" in done.stdout and read_delays(model) == {"ctc": expected}


def test_errors_of_times(tmp_path):
    lines = [("a", 0.1, 0.5, "one"), ("a", 0.5, 0.899, "two"), ("b", 0.0, 1.0, "three"), ("c", 0.0, 1.0, "four")]
    (tmp_path / "ref.ctm").write_text("".join(ctm_line(*line) for line in lines))
    reference = read_ctm(tmp_path / "ref.ctm")
    assert reference["a"] == [("one", 0.1, 0.5), ("two", 0.5, 0.899)]
    given = {
        "a": [TimedWord("one", 0.2, 0.4), TimedWord("two", 0.4, 1.2)],
        "b": [TimedWord("three", 0.3, 1.0)],
        "c": [TimedWord("five", 0.0, 0.1)],
    }
    errors = time_errors(reference, given)
    assert errors[:3] == (2, 3, 3)
    assert errors[3:] == pytest.approx((0.5 / 3, 0.1, 0.401 / 3, 0.1))
    with pytest.raises(UserError, match="no utterance has the words"):
        time_errors(reference, {"c": given["c"]})
    (tmp_path / "bad.ctm").write_text("a 1 0.1 0.2 one\na 1 x 0.2 two\n")
    with pytest.raises(UserError, match=r"bad.ctm:2: expected `utterance channel begin duration word`"):
        read_ctm(tmp_path / "bad.ctm")


@pytest.mark.parametrize("command", ["train", "average"])
def test_a_new_model_is_measured(model_dir, data, tmp_path, monkeypatch, command):
    model = shutil.copytree(model_dir, tmp_path / "m")
    monkeypatch.setattr(f"audiorec.training.run.{command}", lambda *_: model)
    expected = measure_delay(late(["one", "two", "three"]), data, Normalizer(case="lower"))
    monkeypatch.setattr("audiorec.evaluation.times.measure_delay", lambda *_: expected)
    recipe, folder = str(ROOT / "recipes/lstm_ctc.yaml"), str(data)
    options = [recipe, "--train", folder, "--out", str(tmp_path)] if command == "train" else [str(tmp_path)]
    done = CliRunner().invoke(app, [command, *options, "--valid", folder])
    assert done.exit_code == 0 and done.stdout.splitlines()[-1] == str(model)
    assert read_delays(model) == {"ctc": expected}
