"""One set of weights at several latencies, and models that see the whole utterance: live equals offline, or says no."""

import pytest
from typer.testing import CliRunner

import audiorec
from audiorec.cli import app
from audiorec.errors import UserError
from audiorec.models import describe, load_model
from tests.conftest import make_model

CONTEXTS = [{"left": 8, "chunk": 1}, {"left": 8, "chunk": 3}, {"left": 4, "chunk": None}]


@pytest.fixture(scope="module")
def conformer(tmp_path_factory):
    tiny = {"dim": 16, "heads": 2, "layers": 2, "strides": [4], "kernel": 5, "conv_kernel": 3}
    return make_model(tmp_path_factory.mktemp("models") / "conformer", kind="conformer", contexts=CONTEXTS, **tiny)


def streamed(recognizer, samples):
    stream = recognizer.stream()
    for start in range(0, len(samples), 500):
        stream.accept(samples[start : start + 500])
    return stream.finish().segments


def test_every_latency_streams_what_it_says_offline(conformer, speech):
    recognizer, samples, texts = audiorec.load(conformer), speech[:64000], set()
    live = recognizer.stream()  # begun before the views are made, and not disturbed by them
    live.accept(samples)
    for ms, latency in ((0, 47.5), (80, 127.5)):
        view = recognizer.at_latency(ms)
        assert (view.model.latency_ms, view.model.look_ahead_ms) == (latency, ms)
        offline = view.transcribe_batch([samples])[0]
        assert streamed(view, samples) == offline.segments
        texts.add(offline.text)
    assert len(texts) == 2 and live.finish().segments == recognizer.transcribe_batch([samples])[0].segments
    with pytest.raises(UserError, match=r"latency 160 ms: this model was trained for 0, 80, inf ms"):
        recognizer.at_latency(160)


@pytest.mark.parametrize("kind", ["conformer", "blstm"])
def test_a_whole_utterance_model_transcribes_and_does_not_stream(conformer, speech, tmp_path, kind):
    if kind == "conformer":
        recognizer = audiorec.load(conformer).at_latency(float("inf"))
    else:
        recognizer = audiorec.load(make_model(tmp_path / "m", kind="blstm", dim=16, layers=1, strides=[4], chunk=None))
        about, _ = describe(*load_model(tmp_path / "m"))
        assert "whole utterance" in about["latency"] and "cannot stream" in about["latency"]
    samples = speech[:32000]
    assert recognizer.transcribe(samples).segments == recognizer.transcribe_batch([samples])[0].segments
    assert recognizer.transcribe(samples, sample_rate=16000).text
    with pytest.raises(UserError, match="cannot stream"):
        recognizer.stream()


def test_an_encoder_of_one_latency_says_so(model_dir):
    with pytest.raises(UserError, match="one latency only"):
        audiorec.load(model_dir).at_latency(80)
    assert audiorec.load(model_dir).model.latencies == [] and audiorec.load(model_dir).model.look_ahead_ms is None


def test_info_lists_the_other_latencies_that_stream(conformer, model_dir):
    def listed(model):
        return CliRunner().invoke(app, ["info", str(model), "--latencies"]).stdout.split()

    assert (listed(conformer), listed(model_dir)) == (["80"], [])
