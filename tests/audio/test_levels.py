"""Levels: decibels of each 10 ms, the same bytes at any cut."""

import random

import numpy as np
import pytest

from audiorec.audio.levels import FULL_SCALE, Levels


def _all(levels: Levels) -> bytes:
    return levels.between(0, len(levels))


@pytest.mark.parametrize("rate", [8000, 11025, 16000])
def test_any_cut_gives_the_same_bytes(rate, speech):
    samples, draw = speech[:50001], random.Random(1)
    whole, cut, at = Levels(rate, samples), Levels(rate), 0
    while at < len(samples):
        size = draw.choice([0, 1, 7, 79, 80, 81, 333, 5000])
        cut.push(samples[at : at + size])
        at += size
    assert _all(cut) == _all(whole) and len(set(_all(whole))) > 20
    assert cut.seconds == whole.seconds == len(samples) / rate
    assert len(whole) == len(samples) // round(rate / 100)


def test_levels_are_decibels_and_sound_has_an_extent():
    samples = np.zeros(1600, np.float32)
    samples[240:800] = 0.1  # frames 3 to 9
    samples[800:880] = 0.001  # 40 dB softer: silence beside that
    levels = Levels(8000, samples)
    assert list(_all(levels)) == [0] * 3 + [FULL_SCALE - 20] * 7 + [FULL_SCALE - 60] + [0] * 9
    assert levels.sound() == (0.03, 0.1) and levels.peak(-4, 3) == 0 and levels.peak(9, 99) == FULL_SCALE - 20
    assert levels.silence(-2, 5, FULL_SCALE - 20) == b"\1\1\1\1\1\0\0"
    assert levels.silence(8, 22, FULL_SCALE - 20) == b"\0\0" + b"\1" * 12
    assert levels.silence(-5, -2, FULL_SCALE) == levels.silence(30, 33, FULL_SCALE) == b"\1\1\1"
    assert levels.silence(10, 11, FULL_SCALE - 31) == b"\0"


def test_no_sound_at_all():
    assert Levels(8000).sound() == (-0.01, 0.0) and Levels(8000, np.zeros(160, np.float32)).sound() == (0.0, 0.02)


def test_what_is_forgotten_is_silence_and_frames_keep_their_numbers():
    samples = np.zeros(1600, np.float32)
    samples[240:800] = 0.1
    levels = Levels(8000, samples)
    levels.forget(5)
    levels.forget(2)
    levels.push(samples)
    assert len(levels) == 40 and levels.seconds == 0.4
    assert levels.between(0, 8) == bytes([FULL_SCALE - 20] * 3)
    assert levels.silence(3, 11, FULL_SCALE - 20) == b"\1\1\0\0\0\0\0\1"
    assert levels.last_above(0, 6, 20) == 9 and levels.last_above(0, 12, 20) == 11
