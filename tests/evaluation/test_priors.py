"""Priors: measured on data, kept beside the model, taken off by a beam, the same live and in an export's folder."""

import shutil

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import audiorec
from audiorec.cli import app
from audiorec.data.kaldi import Recordings, read_data_dir, write_data_dir
from audiorec.errors import ConfigError, UserError
from audiorec.evaluation.priors import measure_priors
from audiorec.models import find_model
from audiorec.search.priors import PRIORS, load_priors, save_priors
from tests.conftest import RECORDINGS

BEAM = {"kind": "beam", "beam": 6}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "dev"
    write_data_dir(folder, read_data_dir(RECORDINGS)[::300])
    return folder


@pytest.fixture
def measured(model_dir, data, tmp_path):
    """A copy of the model, with its priors."""
    folder = tmp_path / "model"
    shutil.copytree(find_model(model_dir), folder)
    result = CliRunner().invoke(app, ["priors", str(folder), "--data", str(data)])
    assert result.exit_code == 0, result.output
    return folder


def test_they_are_the_mean_posteriors_of_all_frames(measured, data):
    recognizer, recordings, frames = audiorec.load(measured), Recordings(), []
    for utterance in read_data_dir(data):
        samples = recordings.samples(utterance, recognizer.sample_rate)
        padded = torch.from_numpy(np.pad(samples, (0, recognizer.tail)))[None]
        with torch.no_grad():
            frames.append(recognizer.model.head("ctc")(recognizer.model(padded)[0])[0].exp())
    wanted = torch.cat(frames).mean(0)
    assert torch.allclose(recognizer.model.head("ctc").priors.exp(), wanted, rtol=1e-4, atol=1e-7)
    assert measure_priors(recognizer, data).sum() == pytest.approx(1, abs=1e-5)


def test_a_beam_takes_them_off_live_as_offline(measured, speech):
    plain, flat = (audiorec.load(measured, search=BEAM | more) for more in ({}, {"prior_weight": 1.0}))
    head = flat.model.head("ctc")
    x, _ = flat.model(torch.from_numpy(speech[None, :16000]))
    with torch.no_grad():
        by_hand = (head(x).double() - head.priors).softmax(-1)
        assert torch.allclose(head.without_priors(1.0, x).exp().double(), by_hand, atol=1e-6)
    whole, stream = flat.transcribe(speech[:32000]), flat.stream()
    for piece in np.array_split(speech[:32000], 7):
        stream.accept(piece)
    result = stream.finish()
    assert result.text == whole.text and result.nbest == whole.nbest
    assert all(0 < token.confidence <= 1 for token in result.tokens)
    assert [one.score for one in plain.transcribe(speech[:32000]).nbest] != [one.score for one in whole.nbest]


def test_faults_are_named(model_dir, measured, tmp_path):
    with pytest.raises(ConfigError, match=r"search\.prior_weight: the priors of this head were not measured"):
        audiorec.load(model_dir, search=BEAM | {"prior_weight": 1.0})
    with pytest.raises(ConfigError, match="needs a beam"):
        audiorec.load(measured, search={"prior_weight": 1.0})
    if "transducer" in audiorec.load(measured).model.heads:
        with pytest.raises(ConfigError, match=r"search\.prior_weight: only CTC's"):
            audiorec.load(measured, head="transducer", search=BEAM | {"prior_weight": 1.0})
    priors = np.exp(next(iter(load_priors(measured, audiorec.load(measured).tokenizer.size).values())))
    for heads, said in (
        ({"other": priors}, "other is no CTC head"),
        ({"ctc": priors[1:]}, "has .* priors, the model has"),
    ):
        save_priors(measured, heads)
        with pytest.raises(UserError, match=said):
            audiorec.load(measured)
    (measured / PRIORS).write_text("{priors: {ctc: [0.5, -1]}}")
    with pytest.raises(ConfigError, match=r"priors\.yaml"):
        audiorec.load(measured)
