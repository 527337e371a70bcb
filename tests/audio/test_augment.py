"""Augmentation: what it promises of levels, ratios and lengths, and that a seed decides all of it."""

import numpy as np
import pytest
import torch

from audiorec.audio.augment import (
    LEVEL,
    AugmentConfig,
    add_noise,
    augment,
    augment_clip,
    change_speed,
    coloured_noise,
    even_level,
    random_envelope,
    random_filter,
)
from audiorec.audio.spec_augment import SpecAugmentConfig, spec_augment


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


def test_speed_shortens_and_raises_the_pitch():
    tone = np.sin(2 * np.pi * 500 * np.arange(8000) / 8000).astype(np.float32)
    fast = change_speed(tone, 1.25, 8000)
    assert abs(len(fast) - 6400) <= 1 and fast.dtype == np.float32
    assert abs(np.argmax(np.abs(np.fft.rfft(fast, 8000))) - 625) <= 2


def test_levels_are_evened_and_silence_stays(speech):
    assert rms(even_level(speech * 7)) == pytest.approx(LEVEL, rel=1e-5)
    assert not even_level(np.zeros(10, np.float32)).any()


@pytest.mark.parametrize("snr", [0.0, 20.0])
def test_noise_has_the_ratio_asked_for(speech, snr):
    noisy = add_noise(speech, snr, np.random.default_rng(0))
    assert 20 * np.log10(rms(speech) / rms(noisy - speech)) == pytest.approx(snr, abs=0.01)


def test_noise_falls_with_frequency_as_its_exponent():
    for exponent in (0, 1, 2):
        power = np.abs(np.fft.rfft(coloured_noise(1 << 16, exponent, np.random.default_rng(1)))) ** 2
        slope = np.log2(power[4000:8000].mean() / power[8000:16000].mean())
        assert slope == pytest.approx(exponent, abs=0.15)


def test_a_filter_changes_no_frequency_by_more_than_asked_and_its_curve_is_smooth():
    impulse = np.zeros(4096, np.float32)
    impulse[2048] = 1
    curves = []
    for seed in (1, 2):
        y = random_filter(impulse, 6.0, np.random.default_rng(seed))
        curves.append(20 * np.log10(np.abs(np.fft.rfft(y))))
    for curve in curves:
        assert 1 < np.abs(curve).max() < 6.01 and np.abs(np.diff(curve)).max() < 1
    assert np.abs(curves[0] - curves[1]).max() > 1


def test_an_envelope_changes_no_sample_by_more_than_asked_and_is_smooth():
    random = np.random.default_rng(0)
    envelope = 20 * np.log10(random_envelope(np.ones(8000, np.float32), 8000, 6.0, random))
    assert 5 < np.abs(envelope).max() < 6.01 and np.abs(np.diff(envelope)).max() < 12.01 / 400
    assert all(len(random_envelope(np.ones(n, np.float32), 8000, 6.0, random)) == n for n in (0, 1, 399, 400, 401))


def test_a_seed_decides_everything(speech):
    config = AugmentConfig(speed=(0.9, 1.1), filter_db=6, envelope_db=6, gain_db=(-6, 6), noise_snr_db=(5, 20))

    def changed(config: AugmentConfig, seed: int) -> np.ndarray:
        random = np.random.default_rng(seed)
        return augment(augment_clip(speech, 8000, config, random), 8000, config, random)

    a, b, c = (changed(config, seed) for seed in (1, 1, 2))
    assert np.array_equal(a, b) and (len(a) != len(c) or not np.array_equal(a, c))
    assert np.array_equal(changed(AugmentConfig(), 0), speech)


def test_spec_augment_draws_by_row_and_hides_no_more_than_its_share():
    config = SpecAugmentConfig(time_masks=3, time_width=40, time_share=0.3, frequency_masks=1, frequency_width=4)
    x, lengths, seeds = torch.ones(2, 200, 20), torch.tensor([200, 50]), torch.tensor([5, 6])
    y = spec_augment(x, lengths, seeds, config)
    assert torch.equal(spec_augment(x[1:], lengths[1:], seeds[1:], config), y[1:])
    for row, length in zip(y, lengths.tolist(), strict=True):
        hidden = (row == 0).all(1)
        assert hidden[:length].sum() <= 0.3 * length and not hidden[length:].any()
        assert (row == 0).all(0).sum() <= 4
    assert torch.equal(spec_augment(x, lengths, seeds, SpecAugmentConfig()), x)
