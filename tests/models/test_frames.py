"""Labels of frames: the loss is each frame's cross-entropy, stretches follow the rules, a recipe's model learns and streams."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import audiorec
from audiorec.audio.read import write
from audiorec.config import load_config, parse
from audiorec.data.batches import DataConfig, Row, SpeechData
from audiorec.data.kaldi import Utterance, read_data_dir, write_data_dir
from audiorec.data.strings import StringsConfig
from audiorec.data.targets import FRAMES, Example, Targets
from audiorec.data.utterance import Stretch
from audiorec.errors import ConfigError
from audiorec.evaluation.decode import decode
from audiorec.models import ModelConfig
from audiorec.models.heads import HEADS
from audiorec.search.stretches import Rules, advance, commit, initial_state
from audiorec.text import Normalizer, train_tokenizer
from audiorec.training.config import RunConfig
from audiorec.training.run import train
from tests.conftest import ROOT, TINY

RATE = 8000


def test_the_loss_and_the_errors_are_those_of_each_frame():
    torch.manual_seed(0)
    head = HEADS.build({"kind": "frames"}, 6, 5).double()
    x, lengths = torch.randn(2, 9, 6, dtype=torch.float64), torch.tensor([9, 4])
    x[1, 4:] = torch.nan
    labels, counts = torch.randint(0, 5, (2, 8)), torch.tensor([8, 4])  # a frame more than labels: it has none
    losses = head.losses(x, lengths, labels, counts)
    logits, padded = head.linear(x), F.pad(labels, (0, 1))
    for row, n in enumerate(lengths.tolist()):
        wanted = F.cross_entropy(logits[row, :n], padded[row, :n], reduction="sum")
        torch.testing.assert_close(losses[row], wanted)
    losses.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in head.parameters())
    wrong = sum(int((logits[i, :n].argmax(-1) != padded[i, :n]).sum()) for i, n in enumerate(lengths.tolist()))
    assert head.errors(x, lengths, Targets(labels, counts), ["", ""], None) == (wrong, 13)


@pytest.mark.parametrize(
    "rules, wanted",
    [
        (Rules(), [(2, 2, 3), (2, 5, 5), (3, 6, 7), (2, 9, 9)]),
        (Rules(min_off=2), [(2, 2, 5), (3, 6, 7), (2, 9, 9)]),
        (Rules(min_on=2), [(2, 2, 3), (3, 6, 7)]),
        (Rules(min_on=2, min_off=3), [(2, 2, 5), (3, 6, 7)]),
        (Rules(offset=0.05), [(2, 2, 5), (3, 6, 8), (2, 9, 9)]),
    ],
)
def test_stretches_follow_the_rules(rules, wanted):
    best = [0, 0, 2, 2, 0, 2, 3, 3, 0, 2]
    scores = np.full((1, len(best), 4), 0.1, np.float32)
    scores[0, range(len(best)), best] = 0.7
    (said,), state = advance(np.log(scores), None, initial_state(1), rules)
    said.extend(commit(state)[0][0])
    pairs = list(zip(said.ids[::2], said.frames[::2], said.frames[1::2], strict=True))
    assert pairs == wanted and said.ids[::2] == said.ids[1::2]


def test_a_frame_has_the_label_of_its_middle():
    tokenizer = train_tokenizer("word", ["music speech speech"])
    speech, music = tokenizer.encode("speech music")
    labels = [Stretch(100, 260, "speech"), Stretch(260, 460, "music"), Stretch(900, 9000, "speech")]
    example = Example("", labels, 950, 100)
    assert FRAMES.targets(example, tokenizer) == [0, speech, speech, music, music, 0, 0, 0, 0, speech]


@pytest.fixture
def beeps(tmp_path):
    """Recordings of a tone between silences, and where it is."""
    utterances = []
    for i in range(24):
        random = np.random.default_rng(i)
        samples = random.normal(0, 1e-3, RATE).astype(np.float32)
        start, end = sorted(random.integers(800, 7200, 2).tolist())
        end = max(end, start + 800)
        samples[start:end] += 0.3 * np.sin(np.arange(end - start) * 0.6).astype(np.float32)
        path = tmp_path / f"{i:02}.wav"
        write(path, samples, RATE)
        labels = (Stretch(start / RATE, end / RATE, "beep"),)
        utterances.append(Utterance(f"u{i:02}", f"u{i:02}", path, 0.0, None, "", "one", labels=labels))
    write_data_dir(tmp_path / "data", utterances)
    return tmp_path / "data"


@pytest.mark.parametrize("speed", [(1.0, 1.0), (0.8, 0.8), (1.3, 1.3)])
def test_labels_move_with_the_audio(beeps, speed):
    data = SpeechData(
        beeps,
        RATE,
        train_tokenizer("word", ["beep"]),
        Normalizer(),
        DataConfig(strings=StringsConfig()),
        tasks=[FRAMES],
    )
    changes = load_config(RunConfig, ROOT / "recipes/min_gru_vad.yaml", ["augment={}"]).augment
    changes = changes.model_copy(update={"speed": speed})
    row = Row("row", list(data.utterances.values())[:3])
    samples, labels = data.samples(row, changes, np.random.default_rng(1))
    loud = np.zeros(len(samples), bool)
    for start, end, _ in labels:
        loud[round(start) : round(end)] = True
    level = np.convolve(np.abs(samples), np.ones(40) / 40, "same")
    assert len(labels) == 3 and np.mean(loud != (level > 0.05)) < 0.01


def test_a_recipe_learns_its_labels_and_streams_them(beeps, tmp_path):
    settings = [
        "features.sample_rate=8000",
        "features.bins=20",
        "encoder.dim=16",
        "encoder.layers=1",
        "data.strings=null",
    ]
    settings += ["augment={}", "trainer.max_epochs=12", "optimizer.lr=2e-2", "optimizer.warmup_steps=2"]
    config = load_config(RunConfig, ROOT / "recipes/min_gru_vad.yaml", [*settings, "trainer.accelerator=cpu"])
    assert config.trainer.monitor == "valid_frame_error"
    recognizer = audiorec.load(train(config, beeps, beeps, tmp_path / "run", quiet=True))
    for ms in (None, 30.0):
        decode(recognizer, beeps, tmp_path / str(ms), ms)
    whole = (tmp_path / "None/words.ctm").read_text()
    assert whole == (tmp_path / "30.0/words.ctm").read_text()
    found = {line.split()[0]: line.split() for line in whole.splitlines()}
    for utterance in read_data_dir(beeps, require_text=False):
        _, _, start, length, label = found[utterance.id]
        (wanted,) = utterance.labels
        assert label == "beep" and abs(float(start) - wanted.start) < 0.1
        assert abs(float(start) + float(length) - wanted.end) < 0.1


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match=r"tokenizer: heads\.frames takes a word for a label and needs kind word"):
        parse(ModelConfig, {**TINY, "heads": "frames", "tokenizer": {"kind": "char"}})
    with pytest.raises(ConfigError, match=r"offset: must not be above onset"):
        parse(ModelConfig, {**TINY, "heads": {"frames": {"onset": 0.3}}})
    with pytest.raises(ConfigError, match=r"trainer: monitor accepts valid_frame_error, valid_loss, recent"):
        load_config(RunConfig, ROOT / "recipes/min_gru_vad.yaml", ["trainer.monitor=valid_wer"])
