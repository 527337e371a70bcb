"""Batches: a function of (seed, epoch, utterance) alone, every utterance once, padded, within their size."""

import errno
import itertools
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from audiorec.audio.augment import AugmentConfig
from audiorec.audio.read import write
from audiorec.data import durations
from audiorec.data.batches import DataConfig, SpeechData
from audiorec.data.buckets import bucket, padding
from audiorec.data.durations import recording_seconds
from audiorec.data.kaldi import Recordings, read_data_dir, write_data_dir
from audiorec.data.strings import StringsConfig, draw_strings, join_clips
from audiorec.data.utterance import Pipe
from audiorec.data.validate import validate
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
    pairs = (a.samples, b.samples), (a.lengths, b.lengths), (a.targets["text"].values, b.targets["text"].values)
    tensors = all(torch.equal(*pair) for pair in pairs)
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


def test_workers_are_started_once_and_give_each_epoch_its_batches(folder):
    data, alone = make(folder, workers=2), make(folder)
    pids = set()
    for epoch in range(3):
        for done in (0, 3):
            loader = data.training(CHANGES, seed=1, epoch=epoch, done=done)
            assert all(map(same, loader, list(alone.training(CHANGES, seed=1, epoch=epoch))[done:]))
            pids |= {worker.pid for worker in loader._iterator._workers}
        assert all(map(same, data.as_recorded(), alone.as_recorded()))
    assert len(pids) == 2


def test_what_workers_that_are_spawned_get_has_no_loaders(folder):
    data = make(folder, workers=2)
    list(data.as_recorded())
    assert not pickle.loads(pickle.dumps(data))._loaders


def test_every_utterance_once_within_the_size_and_as_recorded(folder):
    data, recordings = make(folder), Recordings()
    batches = list(data.as_recorded())
    assert sorted(name for batch in batches for name in batch.ids) == sorted(data.utterances)
    for batch in batches:
        assert batch.samples.numel() <= 10 * 8000 * 1.001 and batch.samples.shape[1] == batch.lengths.max()
        for row, n, name, tokens, m in zip(
            batch.samples, batch.lengths, batch.ids, *batch.targets["text"], strict=True
        ):
            assert np.array_equal(row[:n].numpy(), recordings.samples(data.utterances[name], 8000))
            assert not row[n:].any()
            assert data.tokenizer.decode(tokens[:m].tolist()) == data.utterances[name].text


def test_training_leaves_out_what_is_too_short_or_long(folder):
    data = make(folder, min_seconds=0.4, max_seconds=0.5)
    kept = [name for batch in data.training(AugmentConfig(), 1, 0) for name in batch.ids]
    assert sorted(kept) == sorted(u.id for u in data.utterances.values() if 0.4 <= data.seconds[u.id] <= 0.5)


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


# Buckets


@pytest.mark.parametrize("random", [None, 1, 2])
@pytest.mark.parametrize("buckets", [1, 8])
def test_buckets_hold_each_once_within_the_size(random, buckets):
    seconds = np.random.default_rng(0).gamma(3, 3, 2000)
    draw = np.random.default_rng(random) if random else None
    batches = bucket(seconds, 60, buckets, draw)
    assert sorted(itertools.chain(*batches)) == list(range(2000))
    assert all(len(batch) == 1 or len(batch) * seconds[batch].max() <= 60 for batch in batches)
    assert padding(seconds, batches) < (0.01 if random is None else 0.15 if buckets > 1 else 1)
    assert padding(seconds, batches) == pytest.approx(
        1 - seconds.sum() / sum(len(batch) * max(seconds[i] for i in batch) for batch in batches)
    )


def test_buckets_of_nothing_and_of_what_is_too_long():
    assert bucket([], 10, 3, None) == [] and padding([], []) == 0
    assert sorted(bucket([20, 30, 1], 10, 3, np.random.default_rng(0))) == [[0], [1], [2]]


# Durations


def durations_of(folder):
    return recording_seconds(folder, read_data_dir(folder, allow_pipes=True))


def test_durations_are_kept_until_a_file_changes(folder, tmp_path, monkeypatch):
    clips, looked = read_data_dir(folder)[:3], []
    write_data_dir(tmp_path / "d", [replace(clip, path=shutil.copy(clip.path, tmp_path)) for clip in clips])
    true_header = durations.header
    monkeypatch.setattr(durations, "header", lambda path: looked.append(path) or true_header(path))
    first, errors = durations_of(tmp_path / "d")
    assert len(looked) == 3 and not errors
    assert first == {clip.id: len(Recordings().samples(clip, 8000)) / 8000 for clip in clips}
    assert durations_of(tmp_path / "d") == (first, {}) and len(looked) == 3
    write(tmp_path / f"{clips[1].id}.wav", np.zeros(4000), 8000)
    assert durations_of(tmp_path / "d")[0] == first | {clips[1].id: 0.5} and len(looked) == 4
    (tmp_path / "d" / ".durations").write_text("no cache\n")
    assert durations_of(tmp_path / "d")[0] == first | {clips[1].id: 0.5} and len(looked) == 7
    (tmp_path / "d" / "utt2dur").write_text("".join(f"{clip.id} 2.5\n" for clip in clips))
    assert durations_of(tmp_path / "d")[0] == {clip.id: 2.5 for clip in clips} and len(looked) == 7
    assert [str(problem).split(",")[0] for problem in validate(tmp_path / "d")] == [
        f"utt2dur:{line}: 2.5 s" for line in (1, 2, 3)
    ]


def test_a_folder_that_cannot_be_written_has_no_cache(folder, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(durations, "write_text", full)
    clips = read_data_dir(folder)[:2]
    assert set(recording_seconds(tmp_path, clips)[0]) == {clip.id for clip in clips}


def test_commands_run_once_for_their_durations(folder, tmp_path):
    clip = read_data_dir(folder)[0]
    pipe = Pipe(f"echo >> '{tmp_path}/ran'; cat '{clip.path}'")
    write_data_dir(tmp_path / "d", [replace(clip, path=pipe)])
    assert durations_of(tmp_path / "d") == durations_of(tmp_path / "d")
    assert (tmp_path / "ran").read_text() == "\n"


# What cannot be used


def test_unusable_audio_is_counted_and_named_at_once_and_left_out_where_asked(folder, tmp_path, caplog):
    good, late, gone = read_data_dir(folder)[:3]
    clips = [good, replace(late, end=99.0), replace(gone, path=tmp_path / "gone.wav")]
    write_data_dir(tmp_path / "d", clips)
    with pytest.raises(
        UserError, match=rf"2 of 3 utterances have no usable audio, such as {late.id}: 0 to 99 s is not"
    ):
        make(tmp_path / "d")
    data = make(tmp_path / "d", skip_bad=True)
    assert list(data.utterances) == [good.id] and [batch.ids for batch in data.as_recorded()] == [[good.id]]
    assert f"2 of 3 utterances have no usable audio and are left out: {late.id}: " in caplog.text
    assert "gone.wav: no such file" in caplog.text


def test_audio_that_fails_when_it_is_decoded_is_left_out_where_asked(folder, tmp_path, caplog):
    good, bad = read_data_dir(folder)[:2]
    write(tmp_path / "bad.flac", np.random.default_rng(0).uniform(-0.5, 0.5, 8000), 8000)
    content = bytearray((tmp_path / "bad.flac").read_bytes())
    content[len(content) // 2] ^= 255  # a frame whose checksum fails
    (tmp_path / "bad.flac").write_bytes(content)
    write_data_dir(tmp_path / "d", [good, replace(bad, path=tmp_path / "bad.flac")])
    with pytest.raises(UserError, match=r"bad\.flac: cut short or damaged"):
        list(make(tmp_path / "d").as_recorded())
    batches = list(make(tmp_path / "d", skip_bad=True).as_recorded())
    assert [batch.ids for batch in batches] == [[good.id]] and len(batches[0].samples) == 1
    assert f"{bad.id} is left out" in caplog.text
