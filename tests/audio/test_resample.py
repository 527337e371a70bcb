"""One resampler for files and live audio: the same bits at any split, 80 dB, at most 3 ms held back."""

from pathlib import Path

import numpy as np
import pytest
import soxr

from audiorec.audio import resample as module
from audiorec.audio.read import read
from audiorec.audio.resample import Resampler

RECORDINGS = Path(__file__).parents[2] / "egs" / "digits" / "recordings"
RATES = [
    (48000, 16000),
    (44100, 16000),
    (44100, 8000),
    (48000, 8000),
    (16000, 8000),
    (8000, 16000),
    (22050, 16000),
    (11025, 16000),
    (16000, 44100),
    (44099, 16000),  # 16000 phases: interpolated
]
rates = pytest.mark.parametrize(("from_rate", "to_rate"), RATES)


def resample(pieces: list[np.ndarray], from_rate: int, to_rate: int) -> np.ndarray:
    resampler = Resampler(from_rate, to_rate)
    return np.concatenate([*map(resampler.push, pieces), resampler.flush()])


def noise(length: int) -> np.ndarray:
    return np.random.default_rng(length).standard_normal(length).astype(np.float32)


def gain(hertz: float, from_rate: int, to_rate: int) -> complex:
    """What becomes of a complex tone: the output, at the same times, divided by the tone, or its size if it is no tone."""
    tone = np.exp(2j * np.pi * hertz * np.arange(from_rate // 5) / from_rate)
    parts = [resample([part.astype(np.float32)], from_rate, to_rate) for part in (tone.real, tone.imag)]
    out = (parts[0] + 1j * parts[1])[to_rate // 20 : -to_rate // 20]
    times = np.arange(to_rate // 20, to_rate // 20 + len(out)) / to_rate
    if hertz < min(from_rate, to_rate) / 2:
        return np.mean(out * np.exp(-2j * np.pi * hertz * times))
    return np.sqrt(np.mean(np.abs(out) ** 2))


@pytest.mark.parametrize("native", [True, False], ids=["native", "numpy"])
@pytest.mark.parametrize(("from_rate", "to_rate"), [*RATES, (16000, 16000), (1000, 16000), (192000, 44100)])
def test_any_split_gives_the_same_bits(from_rate, to_rate, native, monkeypatch):
    if native and not module.NATIVE:
        pytest.skip("no native library was built")
    monkeypatch.setattr(module, "NATIVE", native)
    random, samples = np.random.default_rng(0), noise(from_rate // 2 + 13)
    whole = resample([samples], from_rate, to_rate)
    assert whole.dtype == np.float32
    if from_rate == to_rate:
        assert np.array_equal(whole, samples)
    for number in (1, 7, 300, 3000):  # of the last, not a few are empty
        cuts = np.sort(random.integers(0, len(samples) + 1, number))
        assert np.array_equal(resample(np.split(samples, [0, *cuts, len(samples)]), from_rate, to_rate), whole)
    assert np.array_equal(
        resample(list(samples[:2000, None]), from_rate, to_rate), resample([samples[:2000]], from_rate, to_rate)
    )


@rates
def test_the_kernel_gives_what_numpy_gives(from_rate, to_rate, monkeypatch):
    samples, given = noise(from_rate // 2 + 13), []
    for native in (module.NATIVE, False):
        monkeypatch.setattr(module, "NATIVE", native)
        given.append(resample([samples], from_rate, to_rate))
    np.testing.assert_allclose(*given, rtol=0, atol=2e-6)


@rates
def test_it_knows_how_many_samples_it_will_return(from_rate, to_rate):
    resampler = Resampler(from_rate, to_rate)
    for count in (0, 1, 100, 5, 4411):
        assert resampler.returns(count) == len(resampler.push(np.zeros(count, np.float32)))


@rates
def test_output_samples_are_counted_to_the_nearest(from_rate, to_rate):
    for length in (0, 1, 2, 5, 100, 4411):
        count = len(resample([noise(length)], from_rate, to_rate))
        assert abs(count - length * to_rate / from_rate) <= 0.5


@rates
def test_at_most_3_ms_are_held_back(from_rate, to_rate):
    resampler, returned, worst = Resampler(from_rate, to_rate), 0, 0.0
    for pushed in range(1, 3000):
        returned += len(resampler.push(np.zeros(1, np.float32)))
        worst = max(worst, pushed / from_rate - returned / to_rate)
    assert worst <= resampler.latency_seconds + 1e-9 <= 0.003 + 2e-9
    assert worst > resampler.latency_seconds - 1 / to_rate  # it says no more than it holds back


def test_what_is_returned_does_not_change_with_later_samples():
    samples = noise(4800)
    other = samples.copy()
    other[2400:] = 0
    ready = Resampler(48000, 16000).push(samples[:2400])
    assert len(ready) >= 800 - 48
    for whole in (samples, other):
        assert np.array_equal(resample([whole], 48000, 16000)[: len(ready)], ready)


@rates
def test_the_pass_band_is_flat_and_the_stop_band_80_db_down(from_rate, to_rate):
    nyquist = min(from_rate, to_rate) / 2
    for part in (0.01, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9):
        value = gain(part * nyquist, from_rate, to_rate)
        assert abs(value - 1) < (0.003 if part < 0.85 else 0.02)  # amplitude and time at once
    for hertz in np.linspace(nyquist * 1.0001, from_rate / 2, 40):
        if hertz > nyquist:
            assert abs(gain(hertz, from_rate, to_rate)) < 1e-4


def test_an_upsampled_tone_has_no_images():
    tone = np.sin(2 * np.pi * 3000 * np.arange(8000) / 8000).astype(np.float32)
    out = resample([tone], 8000, 16000)[4000:12000]
    power = np.abs(np.fft.rfft(out * np.blackman(len(out)))) ** 2
    assert power[4000:].max() < 1e-8 * power.max()


@rates
def test_a_constant_stays_what_it_is(from_rate, to_rate):
    out = resample([np.full(from_rate // 5, 0.5, np.float32)], from_rate, to_rate)
    edge = to_rate // 50
    assert np.abs(out[edge:-edge] - 0.5).max() < 1e-6


@pytest.mark.parametrize("name", ["lucas", "theo"])
@pytest.mark.parametrize("high", [48000, 44100])
def test_speech_is_as_soxr_gives_it(name, high):
    samples, rate = read(RECORDINGS / f"{name}.opus")
    samples = samples[: 20 * rate]
    above = soxr.resample(samples, rate, high, quality="VHQ")
    ours, theirs = resample([above], high, rate), soxr.resample(above, high, rate, quality="HQ")
    assert abs(len(ours) - len(theirs)) <= 1
    size = min(len(ours), len(theirs)) - rate // 5
    difference = np.fft.rfft(ours[:size] - theirs[:size])
    speech = np.fft.rfft(theirs[:size])
    passed = np.fft.rfftfreq(size, 1 / rate) < 0.85 * rate / 2
    assert (np.abs(difference[passed]) ** 2).sum() < 1e-5 * (np.abs(speech[passed]) ** 2).sum()


def test_a_stream_costs_the_same_at_its_end():
    resampler, piece = Resampler(44100, 16000), noise(4410)
    sizes = set()
    for _ in range(300):
        resampler.push(piece)
        sizes.add(resampler._waiting.size)
    assert max(sizes) < 1000
