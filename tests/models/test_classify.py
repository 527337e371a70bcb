"""Keywords: the loss is cross-entropy of the label, and a recipe's model learns, is saved, loaded, and streams its label."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import audiorec
from audiorec.audio.read import write
from audiorec.config import load_config, parse
from audiorec.data.kaldi import Recordings, read_data_dir, write_data_dir
from audiorec.data.validate import validate
from audiorec.errors import ConfigError, UserError
from audiorec.evaluation.decode import decode
from audiorec.losses import mean_per_token
from audiorec.models import ModelConfig
from audiorec.models.heads import HEADS
from audiorec.training.config import RunConfig
from audiorec.training.run import train
from tests.conftest import RECORDINGS, ROOT, TINY

SETTINGS = [
    *("features.sample_rate=8000", "features.bins=20", "encoder.dim=24", "encoder.layers=1", "encoder.channels=4"),
    *("encoder.order=4", "trainer.max_epochs=2", "trainer.accelerator=cpu", "data.batch_seconds=10"),
]


def test_the_loss_is_the_cross_entropy_of_the_one_word():
    torch.manual_seed(0)
    head = HEADS.build({"kind": "classify"}, 6, 5).double()
    x, lengths = torch.randn(4, 9, 6, dtype=torch.float64), torch.tensor([9, 4, 1, 7])
    x[torch.arange(9) >= lengths[:, None]] = torch.nan
    losses = head.losses(x, lengths, torch.tensor([[3, 0], [4, 0], [0, 0], [2, 3]]), torch.tensor([1, 1, 0, 2]))
    for row, label in enumerate([3, 4, 0]):  # no word is the blank
        expected = F.cross_entropy(head.linear(x[row, : lengths[row]].mean(0)), torch.tensor(label))
        torch.testing.assert_close(losses[row], expected)
    assert losses[3] == torch.inf  # two words are no label: left out of the mean, and counted
    total, left_out = mean_per_token(losses, torch.tensor([1, 1, 0, 2]))
    total.backward()
    assert left_out == 1 and all(torch.isfinite(p.grad).all() for p in head.parameters())
    silent = head.losses(x, lengths, torch.zeros(4, 0, dtype=torch.int64), torch.zeros(4, dtype=torch.int64))
    assert torch.isfinite(silent).all()


def test_it_has_no_times():
    head = HEADS.build({"kind": "classify"}, 6, 5)
    with pytest.raises(UserError, match=r"^heads\.classify: has no times of tokens"):
        head.align(torch.zeros(1, 3, 6), torch.tensor([3]), torch.tensor([[2]]), torch.tensor([1]))


def test_pieces_of_words_are_no_labels():
    with pytest.raises(ConfigError, match=r"tokenizer: heads\.classify takes a word for a label and needs kind word"):
        parse(ModelConfig, {**TINY, "heads": "classify", "tokenizer": {"kind": "char"}})


def test_a_recipe_learns_and_streams_its_label(tmp_path, speech):
    clips = read_data_dir(RECORDINGS)
    write_data_dir(tmp_path / "train", clips[::60])
    write_data_dir(tmp_path / "dev", clips[1::200])
    config = load_config(RunConfig, ROOT / "recipes/lmu_classify.yaml", SETTINGS)
    model = train(config, tmp_path / "train", tmp_path / "dev", tmp_path / "run", quiet=True)
    recognizer = audiorec.load(model)
    labels, utterances = set(), [speech[start : start + 4000] for start in range(0, 40000, 4000)]
    with torch.no_grad():  # two epochs teach it little: let small differences between recordings decide
        frames, _ = recognizer.model(torch.from_numpy(np.stack(utterances)), torch.full((10,), 4000))
        linear = recognizer.model.head().linear
        linear.bias.copy_(-linear.weight @ frames.mean((0, 1)))
    for samples, offline in zip(utterances, recognizer.transcribe_batch(utterances), strict=True):
        stream, said = recognizer.stream(), []
        assert stream.partial().text == ""
        for piece in np.array_split(samples, 13):
            stream.accept(piece)
            said.append(stream.partial().text)
        final = stream.finish()
        assert final.text == stream.partial().text == offline.text == recognizer.transcribe(samples).text
        assert final.text in [*recognizer.tokenizer.decode(range(recognizer.tokenizer.size)).split(), ""]
        assert all(len(text.split()) <= 1 for text in said)
        labels |= {*said, final.text}
    assert len(labels) > 2, "the label never changes"
    whole, live = (decode(recognizer, tmp_path / "dev", tmp_path / str(ms), ms) for ms in (None, 40.0))
    assert (tmp_path / "None/text").read_text() == (tmp_path / "40.0/text").read_text()
    assert whole["parameters"] == live["parameters"]


def test_silence_is_a_class(tmp_path):
    recordings, data = Recordings(), tmp_path / "data"
    clips = [clip for clip in read_data_dir(RECORDINGS) if clip.recording == "theo"][::10]
    for i, clip in enumerate(clips):  # every third recording is noise, its transcript empty
        path, is_silent = tmp_path / f"{clip.id}.wav", i % 3 == 0
        write(path, noise(i) if is_silent else recordings.samples(clip, 8000), 8000)
        text = "" if is_silent else clip.text
        clips[i] = replace(clip, recording=clip.id, path=path, start=0.0, end=None, text=text)
    write_data_dir(data, clips)
    settings = [*SETTINGS, "trainer.max_epochs=24", "optimizer.warmup_steps=5", "optimizer.lr=1e-2", "spec_augment={}"]
    config = load_config(RunConfig, ROOT / "recipes/lmu_classify.yaml", [*settings, "trainer.precision=fp32"])
    assert "empty transcript" in str(validate(data)[0])
    assert not validate(data, allow_empty_text=config.allows_empty_text)
    recognizer = audiorec.load(train(config, data, data, tmp_path / "run", quiet=True))
    decode(recognizer, data, tmp_path / "decoded")
    texts = dict(line.partition(" ")[::2] for line in (tmp_path / "decoded/text").read_text().splitlines())
    empty, silent = ({name for name, text in x.items() if not text} for x in (texts, {c.id: c.text for c in clips}))
    assert silent <= empty and len(empty - silent) < len(clips) // 4
    assert recognizer.transcribe(noise(1000)).text == ""

    ctc = load_config(RunConfig, ROOT / "recipes/lmu_classify.yaml", [*SETTINGS, "heads={classify: {}, ctc: {}}"])
    with pytest.raises(UserError, match="has an empty transcript"):
        train(ctc, data, data, tmp_path / "other", quiet=True)


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1e-3, 4000).astype(np.float32)
