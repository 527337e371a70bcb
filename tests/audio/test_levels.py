"""Levels: decibels of each 10 ms, the same bytes at any cut."""

import random

import numpy as np
import pytest

from audiorec.audio.levels import FULL_SCALE, Levels


@pytest.mark.parametrize("rate", [8000, 11025, 16000])
def test_any_cut_gives_the_same_bytes(rate, speech):
    samples, draw = speech[:50001], random.Random(1)
    whole, cut, at = Levels(rate, samples), Levels(rate), 0
    while at < len(samples):
        size = draw.choice([0, 1, 7, 79, 80, 81, 333, 5000])
        cut.push(samples[at : at + size])
        at += size
    assert cut.frames == whole.frames and len(set(whole.frames)) > 20
    assert cut.seconds == whole.seconds == len(samples) / rate
    assert len(whole.frames) == len(samples) // round(rate / 100)


def test_levels_are_decibels_and_sound_has_an_extent():
    samples = np.zeros(1600, np.float32)
    samples[240:800] = 0.1  # frames 3 to 9
    samples[800:880] = 0.001  # 40 dB softer: silence beside that
    levels = Levels(8000, samples)
    assert list(levels.frames) == [0] * 3 + [FULL_SCALE - 20] * 7 + [FULL_SCALE - 60] + [0] * 9
    assert levels.sound() == (0.03, 0.1) and levels.peak(-4, 3) == 0 and levels.peak(9, 99) == FULL_SCALE - 20
    assert levels.silence(-2, 5, FULL_SCALE - 20) == b"\1\1\1\1\1\0\0"
    assert levels.silence(8, 22, FULL_SCALE - 20) == b"\0\0" + b"\1" * 12
    assert levels.silence(-5, -2, FULL_SCALE) == levels.silence(30, 33, FULL_SCALE) == b"\1\1\1"
    assert levels.silence(10, 11, FULL_SCALE - 31) == b"\0"


def test_no_sound_at_all():
    assert Levels(8000).sound() == (-0.01, 0.0) and Levels(8000, np.zeros(160, np.float32)).sound() == (0.0, 0.02)
