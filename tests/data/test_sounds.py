"""Noise, music, babble and rooms from recordings: the ratio drawn, and the same draws for the same seed, epoch and utterance."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from audiorec.audio.augment import AugmentConfig, augment, mix
from audiorec.audio.read import write
from audiorec.data.batches import DataConfig, Row, SpeechData
from audiorec.data.draws import generator
from audiorec.data.kaldi import Recordings, read_data_dir, write_data_dir
from audiorec.data.sounds import draws_of
from audiorec.errors import UserError
from audiorec.text import Normalizer, train_tokenizer
from tests.conftest import RECORDINGS, WORDS

RATE = 8000


def power_db(samples: np.ndarray) -> float:
    return 10 * np.log10(np.mean(np.square(samples, dtype=np.float64)))


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A data directory of 12 clips, and a folder of noise in folds, music and an impulse response."""
    home, random = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    recordings, clips = Recordings(), []
    for clip in [clip for clip in read_data_dir(RECORDINGS) if clip.recording == "theo"][:480:40]:
        write(home / f"{clip.id}.wav", recordings.samples(clip, RATE), RATE)
        clips.append(replace(clip, recording=clip.id, path=home / f"{clip.id}.wav", start=0.0, end=None))
    write_data_dir(home / "train", clips)
    (home / "noise" / "rain").mkdir(parents=True)
    for fold in (1, 4):
        write(home / "noise" / "rain" / f"{fold}-a.wav", random.uniform(-0.1 * fold, 0.1 * fold, 2000), RATE)
    write(home / "noise" / "music.flac", np.sin(np.arange(16000) / 9), 16000)
    response = np.zeros(800)
    response[20], response[500] = 0.9, 0.4
    write(home / "noise" / "room.wav", response, RATE)
    return home


def config(home, **options) -> AugmentConfig:
    return AugmentConfig(recordings=home / "noise", **options)


ALL = {
    "speed": (0.9, 1.1),
    "noise": {"files": ["rain/[123]-*"], "probability": 0.5},
    "music": {"files": ["music.*"], "probability": 0.5},
    "babble": {"voices": (2, 3), "probability": 0.5},
    "room": {"files": ["room.wav"], "simulated": 0.5, "seconds": (0.05, 0.1), "probability": 0.8},
    "telephone_probability": 0.5,
    "codec_probability": 0.5,
}


@pytest.mark.parametrize("kind", ["noise", "music", "babble"])
def test_the_ratio_heard_is_the_one_drawn(home, kind):
    utterances, recordings = read_data_dir(home / "train"), Recordings()
    clip = recordings.samples(utterances[0], RATE)
    options = {"files": ["rain/*"]} if kind == "noise" else {"files": ["music.flac"]} if kind == "music" else {}
    for seed, snr in ((1, 0.0), (2, 12.0), (3, 25.0)):
        changes = config(home, **{kind: {**options, "snr_db": (snr, snr), "probability": 1}})
        draws = draws_of(changes, RATE, utterances, recordings)
        noisy = augment(clip, RATE, changes, np.random.default_rng(seed), draws)
        assert len(noisy) == len(clip) and noisy.dtype == np.float32
        assert power_db(clip) - power_db(noisy - clip) == pytest.approx(snr, abs=0.01)


def test_silent_noise_adds_nothing(speech):
    assert np.array_equal(mix(speech, np.zeros_like(speech), 10), speech)


def test_only_the_files_of_the_patterns_are_heard(home):
    changes = config(home, noise={"files": ["rain/[123]-*"]})
    draw = draws_of(changes, RATE, [], Recordings())["noise"]
    assert all(np.abs(draw(5000, np.random.default_rng(seed))).max() <= 0.1001 for seed in range(10))
    a = draw(5000, np.random.default_rng(0))
    assert len(a) == 5000 and np.array_equal(a[:3000], a[2000:])  # it begins anew


def data_of(home, **options) -> SpeechData:
    config = DataConfig(batch_seconds=10, buckets=2, **options)
    return SpeechData(home / "train", RATE, train_tokenizer("word", [WORDS]), Normalizer(), config)


def epoch_of(home, epoch, **options) -> dict[str, np.ndarray]:
    loader = data_of(home, **options).training(config(home, **ALL), 1, epoch)
    return {
        name: row[:n].numpy()
        for batch in loader
        for name, row, n in zip(batch.ids, batch.samples, batch.lengths, strict=True)
    }


@pytest.mark.parametrize("workers", [0, 1])
def test_an_epoch_repeats_itself_and_another_differs(home, workers):
    first, again, other = epoch_of(home, 3), epoch_of(home, 3, workers=workers), epoch_of(home, 4)
    assert first.keys() == again.keys() == other.keys() and len(first) == 12
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not any(np.array_equal(first[name], other[name]) for name in first)
    assert all(np.isfinite(row).all() for row in first.values())


def test_a_draw_depends_on_its_utterance_alone(home):
    """Not on what was drawn before it, as after a resume."""
    data, changes = data_of(home), config(home, **ALL)
    rows = [Row(u.id, (u,)) for u in data.utterances.values()]
    forwards = [data.samples(row, changes, generator(1, 0, row.id))[0] for row in rows]
    data = pickle.loads(pickle.dumps(data_of(home)))
    backwards = [data.samples(row, changes, generator(1, 0, row.id))[0] for row in reversed(rows)]
    assert all(np.array_equal(a, b) for a, b in zip(forwards, reversed(backwards), strict=True))


def test_lengths_stay_without_speed(home):
    data, changes = data_of(home), config(home, **{**ALL, "speed": None})
    for utterance in data.utterances.values():
        samples, _ = data.samples(Row(utterance.id, (utterance,)), changes, generator(1, 0, utterance.id))
        assert len(samples) == len(data.recordings.samples(utterance, RATE))


def test_what_is_not_there_is_named(home, monkeypatch):
    with pytest.raises(
        UserError, match=r"no audio file is called snow/\*; change augment's files .* or augment\.recordings"
    ):
        data_of(home).training(config(home, noise={"files": ["snow/*"]}), 1, 0)
    monkeypatch.setenv("AUDIOREC_DATA", str(home))
    assert len(data_of(home).training(AugmentConfig(noise={"files": ["rain/*"]}), 1, 0))  # the corpus `noise` there
    with pytest.raises(UserError, match="corpus snow: neither"):
        data_of(home).training(AugmentConfig(recordings="snow", noise={"files": ["*"]}), 1, 0)
