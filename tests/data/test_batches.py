"""Batches: a function of (seed, epoch, utterance) alone, every utterance once, padded, within their size."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from audiorec.audio.augment import AugmentConfig
from audiorec.audio.read import write
from audiorec.data.batches import DataConfig, SpeechData
from audiorec.data.kaldi import Recordings, read_data_dir, write_data_dir
from audiorec.data.strings import StringsConfig, draw_strings, join_clips
from audiorec.errors import UserError
from audiorec.text import Normalizer, train_tokenizer
from tests.conftest import RECORDINGS, WORDS

CHANGES = AugmentConfig(level=True, speed=(0.9, 1.1), gain_db=(-6, 6), noise_snr_db=(5, 20))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """150 clips of all speakers, each a file of its own."""
    folder, recordings, clips = tmp_path_factory.mktemp("data"), Recordings(), []
    for clip in read_data_dir(RECORDINGS)[::20]:
        path = folder / f"{clip.id}.wav"
        write(path, recordings.samples(clip, 8000), 8000)
        clips.append(replace(clip, recording=clip.id, path=path, start=0.0, end=None))
    write_data_dir(folder / "train", clips)
    return folder / "train"


def make(folder, **options) -> SpeechData:
    config = DataConfig(batch_seconds=10, buckets=3, **options)
    return SpeechData(folder, 8000, train_tokenizer("word", [WORDS]), Normalizer(), config)


def same(a, b) -> bool:
    tensors = all(torch.equal(getattr(a, k), getattr(b, k)) for k in ("samples", "lengths", "tokens"))
    return tensors and a.ids == b.ids and a.texts == b.texts and a.seeds == b.seeds


@pytest.mark.parametrize("strings", [None, StringsConfig(clips=(1, 4))])
@pytest.mark.parametrize("workers", [0, 1])
def test_an_epoch_is_a_function_of_its_seed_and_number(folder, strings, workers):
    first = list(make(folder, strings=strings, workers=workers).training(CHANGES, seed=1, epoch=3))
    again = list(make(folder, strings=strings).training(CHANGES, seed=1, epoch=3))
    assert len(first) == len(again) and all(map(same, first, again))
    for seed, epoch in ((1, 4), (2, 3)):
        other = list(make(folder, strings=strings).training(CHANGES, seed, epoch))
        assert not all(map(same, first, other)) or len(first) != len(other)


def test_every_utterance_once_within_the_size_and_as_recorded(folder):
    data, recordings = make(folder), Recordings()
    batches = list(data.as_recorded())
    assert sorted(name for batch in batches for name in batch.ids) == sorted(data.utterances)
    for batch in batches:
        assert batch.lengths.sum() <= 10 * 8000 * 1.001 and batch.samples.shape[1] == batch.lengths.max()
        for row, n, name, tokens, m in zip(
            batch.samples, batch.lengths, batch.ids, batch.tokens, batch.token_lengths, strict=True
        ):
            assert np.array_equal(row[:n].numpy(), recordings.samples(data.utterances[name], 8000))
            assert not row[n:].any()
            assert data.tokenizer.decode(tokens[:m].tolist()) == data.utterances[name].text


def test_training_leaves_out_what_is_too_short_or_long(folder):
    data = make(folder, min_seconds=0.4, max_seconds=0.5)
    kept = [name for batch in data.training(AugmentConfig(), 1, 0) for name in batch.ids]
    assert sorted(kept) == sorted(u.id for u in data.utterances.values() if 0.4 <= data.cuts[u.id].duration <= 0.5)


def test_a_validation_set_may_have_any_lengths(folder):
    data = make(folder, min_seconds=25)
    assert sum(len(batch.ids) for batch in data.as_recorded()) == len(data.utterances)
    with pytest.raises(UserError, match=r"no utterance lasts from 25.0 to 30.0 s; change data\.min_seconds"):
        data.training(AugmentConfig(), 1, 0)


def test_one_bucket_holds_all_lengths(folder):
    data = SpeechData(folder, 8000, train_tokenizer("word", [WORDS]), Normalizer(), DataConfig(buckets=1))
    assert sum(len(batch.ids) for batch in data.training(AugmentConfig(), 1, 0)) == len(data.utterances)


def test_strings_use_each_clip_once_and_keep_to_one_speaker():
    clips = read_data_dir(RECORDINGS)
    strings = draw_strings(clips, StringsConfig(clips=(1, 7)), seed=5, epoch=2)
    used = [clip.id for _, chosen in strings for clip in chosen]
    assert sorted(used) == [clip.id for clip in clips] and len({name for name, _ in strings}) == len(strings)
    assert all(len({clip.speaker for clip in chosen}) == 1 and 1 <= len(chosen) <= 7 for _, chosen in strings)
    assert {len(chosen) for _, chosen in strings} == set(range(1, 8))


@pytest.mark.parametrize("share, least, most", [(0.0, 0.05, 0.15), (0.3, 0.3, 0.45), (1.0, 0.9, 1.0)])
def test_strings_hold_the_share_of_repeats_asked_for(share, least, most):
    clips = read_data_dir(RECORDINGS)
    strings = draw_strings(clips, StringsConfig(clips=(2, 9), repeats=share), seed=5, epoch=2)
    pairs = [(a.text, b.text) for _, chosen in strings for a, b in itertools.pairwise(chosen)]
    assert least < sum(a == b for a, b in pairs) / len(pairs) < most
    assert sorted(clip.id for _, chosen in strings for clip in chosen) == [clip.id for clip in clips]


def test_joined_clips_stand_in_order_with_faint_noise_between():
    clips = [np.full(400, value, np.float32) for value in (0.5, -0.5)]
    config = StringsConfig(gap=(0.01, 0.02), noise_db=(-60, -60))
    joined, starts = join_clips(clips, 8000, config, np.random.default_rng(0))
    assert [joined[start : start + 400].tolist() for start in starts] == [clip.tolist() for clip in clips]
    assert [int(v > 0) for v in joined[np.abs(joined) == 0.5]] == [1] * 400 + [0] * 400
    noise = joined[np.abs(joined) != 0.5]
    assert 3 * 80 <= len(noise) <= 3 * 160 and np.sqrt(np.mean(noise**2)) == pytest.approx(1e-3, rel=0.2)
