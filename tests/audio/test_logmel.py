"""Log-mel features against kaldi-native-fbank on real speech, and what happens at the ends."""

import numpy as np
import pytest
import torch

from audiorec.audio.logmel import LogMel, LogMelConfig
from audiorec.audio.read import read
from tests.conftest import RECORDINGS


def kaldi(samples: np.ndarray, rate: int, bins: int) -> np.ndarray:
    pytest.importorskip("kaldi_native_fbank")
    from tools.bench.features import kaldi

    return kaldi(samples, rate, bins)


def features(samples: np.ndarray, rate: int, bins: int) -> np.ndarray:
    module = LogMel(LogMelConfig(sample_rate=rate, bins=bins))
    y, lengths = module(torch.from_numpy(samples)[None, :, None], torch.tensor([len(samples)]))
    assert lengths.tolist() == [y.shape[1]] == [-(-len(samples) // (rate // 100))]
    return y[0].numpy()


@pytest.mark.parametrize("speaker", ["george", "nicolas"])
@pytest.mark.parametrize("rate, bins", [(8000, 64), (16000, 80)])
def test_interior_frames_are_kaldis(speaker, rate, bins):
    samples = read(RECORDINGS / f"{speaker}.opus", rate)[0][: 60 * rate]
    ours, theirs = features(samples, rate, bins), kaldi(samples, rate, bins)
    frames = min(len(ours), len(theirs))
    error = np.abs(ours[2 : frames - 2] - theirs[2 : frames - 2])
    assert error.max() < 3e-3 and np.quantile(error, 0.999) < 3e-4


@pytest.mark.parametrize("size", [1, 79, 80, 81, 139, 140, 141, 799])
def test_every_sample_is_covered(size):
    frames = features(np.random.default_rng(0).standard_normal(size).astype(np.float32) / 10, 8000, 20)
    assert len(frames) == -(-size // 80) and np.isfinite(frames).all()


def test_silence_is_the_floor_and_statistics_are_floored():
    module = LogMel(LogMelConfig(sample_rate=8000, bins=20))
    x, n = torch.zeros(1, 800, 1), torch.tensor([800])
    floor = module(x, n)[0]
    assert torch.allclose(floor, torch.tensor(1.1920929e-07).log())
    module.set_statistics(floor[0, 0], torch.zeros(20))
    assert torch.allclose(module.std, torch.tensor(0.5)) and module(x, n)[0].abs().max() < 1e-5


def test_autocast_does_not_touch_features(speech):
    module = LogMel(LogMelConfig(sample_rate=8000, bins=20))
    x, n = torch.from_numpy(speech)[None, :8000, None], torch.tensor([8000])
    expected = module(x, n)[0]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(module(x, n)[0], expected)
