"""Word times: the same live as offline for every search, in order and within the audio; a model without a delay as before."""

import shutil

import pytest

import audiorec
from audiorec.errors import ConfigError
from audiorec.models import save_model, write_delays
from audiorec.text import train_tokenizer
from audiorec.transcript import Delay
from tests.conftest import WORDS, make_model
from tests.models.test_heads import make, sharpen

DELAY = Delay(begin=(-0.5, -0.3, -0.1), end=(-0.1, 0.0, 0.2), tail=0.23)


@pytest.fixture(scope="module", params=["ctc", "ctc beam", "full", "modified", "modified beam", "tdt"])
def recognizer(request, speech, tmp_path_factory):
    head, _, beam = request.param.partition(" ")
    model, config = make("lstm", head)
    sharpen(model, speech[8000:24000])
    folder = tmp_path_factory.mktemp("models") / "m"
    save_model(folder, model, config, train_tokenizer("word", [WORDS]), "# small\n")
    write_delays(folder, {next(iter(config.heads)): DELAY})
    return audiorec.load(folder, search={"kind": beam or "greedy"})


@pytest.mark.parametrize("rate", [8000, 16000])
def test_live_is_offline(recognizer, speech, rate):
    samples = speech[8000:32000].repeat(rate // 8000)
    whole = recognizer.transcribe(samples, sample_rate=rate)
    for size in (rate // 100 + 1, rate // 25, rate):
        stream = recognizer.stream(sample_rate=rate)
        for start in range(0, len(samples), size):
            stream.accept(samples[start : start + size])
            partial = stream.partial().words
            assert all(0 <= word.start < word.end <= (start + size) / rate for word in partial)
        assert stream.finish().words == whole.words
    if rate == 8000:
        assert recognizer.transcribe_batch([samples, samples[:9001]])[0].words == whole.words
    bounds = [bound for word in whole.words for bound in (word.start, word.end)]
    assert len(bounds) > 8 and bounds == sorted(bounds) and bounds[0] >= 0 and bounds[-1] <= 3.0
    assert [round(word.end - word.start, 2) for word in whole.words] != [0.03] * len(whole.words)


def test_a_model_without_a_delay_gives_the_times_of_its_tokens(model_dir, speech):
    recognizer = audiorec.load(model_dir)
    result = recognizer.transcribe(speech[: 8 * 8000])
    assert recognizer.delay is None and len(result.words) > 3
    assert [(w.start, w.end) for w in result.words] == [(t.start, t.end) for t in result.tokens]


def test_a_view_at_another_latency_has_a_delay_of_its_own(tmp_path):
    contexts = [{"left": 8, "chunk": 1}, {"left": 8, "chunk": 3}]
    tiny = {"dim": 16, "heads": 2, "layers": 1, "strides": [4], "kernel": 5, "conv_kernel": 3}
    model = make_model(tmp_path / "m", kind="conformer", contexts=contexts, **tiny)
    late = Delay(begin=(-0.6, -0.4, -0.2), end=(-0.2, -0.1, 0.1))
    write_delays(model, {"ctc at 0 ms": DELAY, "ctc at 80 ms": late})
    recognizer = audiorec.load(model)
    assert [recognizer.at_latency(ms).delay for ms in (0, 80)] == [DELAY, late]


def test_a_damaged_file_is_one_line(model_dir, tmp_path):
    model = shutil.copytree(model_dir, tmp_path / "m")
    (model / "times.yaml").write_text("format: 1\ndelays: {ctc: {begin: [0, -1, 0], end: [0, 0, 0]}}\n")
    with pytest.raises(ConfigError, match=r"times.yaml: delays.ctc.begin: needs lowest, median and highest") as error:
        audiorec.load(model)
    assert "\n" not in str(error.value)
