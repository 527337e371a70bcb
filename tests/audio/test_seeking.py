"""A part of a file is, bit for bit, that part of the whole file decoded and resampled, and costs no more than its length."""

import numpy as np
import pytest
import soundfile

from audiorec.audio.file import AudioFile
from audiorec.audio.read import read

FRAMES = 20_011
KINDS = [
    ("WAV", "PCM_16"), ("WAV", "PCM_U8"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "ULAW"), ("WAVEX", "PCM_16"),
    ("RF64", "PCM_16"), ("W64", "PCM_16"), ("AIFF", "PCM_16"), ("FLAC", "PCM_16"), ("FLAC", "PCM_24"),
    ("WAV", "IMA_ADPCM"), ("WAV", "GSM610"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"),
]  # fmt: skip
RATES = [(16000, None), (16000, 8000), (8000, 16000), (44100, 16000), (16000, 22050), (11025, 12345)]


def make(folder, kind, rate=16000, channels=1):
    """A file of noise that rises and falls, so that no two places are alike."""
    form, subtype = kind
    random = np.random.default_rng(7)
    samples = random.uniform(-0.5, 0.5, (FRAMES, channels)) * np.sin(np.arange(FRAMES) / 3000)[:, None]
    path = folder / f"a.{form.lower()}"
    soundfile.write(path, samples, rate, subtype, format=form)
    return path


def parts(length, count):
    """Starts and ends: the edges, one beyond each, and random ones."""
    random = np.random.default_rng(3)
    yield from [(0, 0), (0, 1), (0, length), (length - 1, length), (length, length + 5), (length - 40, length + 900)]
    yield from [(5, None), (length - 3, None), (length + 9, None), (500, 400)]
    for _ in range(count):
        start = int(random.integers(0, length))
        yield start, start + int(random.integers(1, 2000))


def hold(path, rate, count, **options):
    whole, at = read(path, rate, **options)
    for start, end in parts(len(whole), count):
        part, part_rate = read(path, rate, start=start, end=end, **options)
        assert part_rate == at and np.array_equal(part, whole[start:end]), (start, end)


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_a_part_of_every_format_is_a_slice_of_the_whole(tmp_path, kind):
    rate = 48000 if "OPUS" in kind else 16000
    hold(make(tmp_path, kind, rate), 16000, 4)


@pytest.mark.parametrize(("rate", "to_rate"), RATES)
def test_a_part_is_a_slice_of_the_whole_resampled(tmp_path, rate, to_rate):
    hold(make(tmp_path, ("FLAC", "PCM_16"), rate), to_rate, 12)


@pytest.mark.parametrize("channel", [None, 1])
def test_a_part_of_channels(tmp_path, channel):
    hold(make(tmp_path, ("WAV", "PCM_16"), channels=3), 8000, 4, channel=channel)


@pytest.mark.parametrize("kind", [("WAV", "PCM_16"), ("FLAC", "PCM_16")])
def test_what_lies_before_and_after_a_part_is_not_decoded(tmp_path, kind, monkeypatch):
    path, decoded, true_read = make(tmp_path, kind), [], AudioFile.read

    def counting(self, limit):
        frames = true_read(self, limit)
        decoded.append(len(frames))
        return frames

    monkeypatch.setattr(AudioFile, "read", counting)
    read(path, 8000, start=4000, end=4100)
    assert sum(decoded) < 200 + 16000 * 0.02
