"""Rooms, telephone and codecs: what they promise of decay, delay, band, length and level."""

import numpy as np
import pytest

from audiorec.audio.channel import CODECS, telephone_band, through_codec
from audiorec.audio.rooms import draw_room, image_method, reverberate

SIZE, SPEAKER, MICROPHONE = np.array([5.0, 4.0, 3.0]), np.array([1.2, 1.5, 1.6]), np.array([3.7, 2.6, 1.1])


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


def decay_seconds(response: np.ndarray, rate: int) -> float:
    """Seconds for 60 dB by Schroeder's backward integral, of the line from -5 to -25 dB."""
    level = 10 * np.log10(np.cumsum(np.square(response)[::-1])[::-1] / np.square(response).sum() + 1e-12)
    inside = np.flatnonzero((level < -5) & (level > -25))
    return -60 / np.polyfit(inside / rate, level[inside], 1)[0]


def test_images_are_those_of_a_brute_force_count():
    """All rooms of the lattice, mirrored one by one."""
    rate, seconds = 16000, 0.05
    response = image_method(SIZE, SPEAKER, MICROPHONE, seconds, rate)
    surface = 2 * (20 + 12 + 15)
    kept = np.exp(-24 * np.log(10) * 60 / (343 * surface * seconds))  # of the energy, at a wall
    expected = np.zeros_like(response)
    for cell in np.ndindex(13, 13, 13):
        place, walls = [], 0
        for axis, number in enumerate(np.array(cell) - 6):
            mirrored = SIZE[axis] - SPEAKER[axis] if number % 2 else SPEAKER[axis]
            place.append(number * SIZE[axis] + mirrored)
            walls += abs(number)
        distance = np.linalg.norm(np.array(place) - MICROPHONE)
        if distance < 343 * seconds:
            expected[round(distance / 343 * rate)] += kept ** (walls / 2) / distance
    assert np.count_nonzero(expected) > 100 and np.abs(response - expected).max() < 1e-9


def test_the_direct_sound_comes_first_and_is_the_loudest():
    response = image_method(SIZE, SPEAKER, MICROPHONE, 0.3, 8000)
    assert np.flatnonzero(response)[0] == round(np.linalg.norm(SPEAKER - MICROPHONE) / 343 * 8000) == response.argmax()


def test_a_room_falls_by_60_db_in_about_the_time_asked_for():
    for seed in range(8):
        seconds = 0.15 + 0.05 * seed
        falls = decay_seconds(draw_room(8000, seconds, np.random.default_rng(seed)), 8000)
        assert 0.9 < falls / seconds < 1.6


def test_reverberation_keeps_length_level_and_the_place_of_the_direct_sound(speech):
    response = draw_room(8000, 0.2, np.random.default_rng(0))
    clip = speech[: 2 * 8000]
    wet = reverberate(clip, response)
    assert wet.shape == clip.shape and wet.dtype == np.float32 and rms(wet) == pytest.approx(rms(clip), rel=1e-4)
    lags = np.correlate(np.pad(wet, 40), clip, "valid")
    assert abs(int(np.abs(lags).argmax()) - 40) <= 2
    delayed = np.zeros(100)
    delayed[70] = 0.5
    assert np.allclose(reverberate(clip, delayed), clip, atol=1e-6)
    assert not reverberate(np.zeros(10, np.float32), response).any()


def test_a_telephone_passes_300_to_3400_hz():
    noise = np.random.default_rng(0).standard_normal(1 << 15).astype(np.float32)
    heard = telephone_band(noise, 16000)
    assert heard.shape == noise.shape and heard.dtype == np.float32
    ratio = np.abs(np.fft.rfft(heard)) / np.abs(np.fft.rfft(noise))
    hertz = np.fft.rfftfreq(1 << 15, 1 / 16000)
    assert np.median(ratio[(hertz > 400) & (hertz < 3300)]) == pytest.approx(1, abs=0.01)
    assert np.median(ratio[(hertz < 200) | (hertz > 3500)]) < 0.01


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("rate", [8000, 16000])
def test_codecs_keep_length_and_place_and_change_something(speech, codec, rate):
    clip = np.repeat(speech[:8000], rate // 8000) * np.float32(3)
    heard = through_codec(clip, rate, codec)
    assert heard.shape == clip.shape and heard.dtype == np.float32
    lags = np.correlate(np.pad(heard, 40), clip, "valid")
    assert abs(int(lags.argmax()) - 40) <= rate // 4000
    noise = rms(heard - clip) / rms(clip)
    assert 1e-3 < noise < 1 and np.array_equal(heard, through_codec(clip, rate, codec))
    assert len(through_codec(clip[:5], rate, codec)) == 5
