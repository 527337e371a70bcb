"""Begin and end of words: at the pauses around them, or by the model's delay; in order, apart, within the audio."""

import random

import numpy as np
import pytest

from audiorec.audio.levels import Levels
from audiorec.config import parse
from audiorec.errors import ConfigError
from audiorec.transcript import Delay, WordTimes

DELAY = Delay(begin=(-0.5, -0.3, -0.1), end=(-0.1, 0.0, 0.2))


def noise(delay: Delay | None, *spans: tuple[float, float], seconds: float = 3.0) -> WordTimes:
    """Loud from begin to end of each span, silent elsewhere."""
    samples = np.zeros(round(8000 * seconds), np.float32)
    for begin, end in spans:
        samples[round(8000 * begin) : round(8000 * end)] = 0.1
    return WordTimes(Levels(8000, samples), delay)


@pytest.mark.parametrize(
    "loud, emission, expected",
    [
        ([(0.7, 1.1)], (1.0, 1.04), (0.7, 1.1)),  # a word between pauses
        ([(0.7, 0.85), (0.9, 1.1)], (1.0, 1.04), (0.7, 1.1)),  # 50 ms of closure part no words
        ([(0.2, 0.55), (0.75, 1.1), (1.3, 2)], (1.0, 1.04), (0.75, 1.1)),  # the neighbours are others
        ([(0.0, 3.0)], (1.0, 1.04), (0.7, 1.04)),  # no pause: the usual delay
        ([(0.98, 1.0)], (1.0, 1.04), (0.9, 1.0)),  # the pauses begin and end outside what the delay allows
        ([(0.0, 0.4)], (0.3, 0.34), (0.0, 0.4)),  # before the audio there is silence
        ([(2.7, 3.0)], (2.95, 2.99), (2.7, 3.0)),  # and after it
    ],
)
def test_pauses_tell_where_a_word_lies(loud, emission, expected):
    (times,) = noise(DELAY, *loud)([emission])
    assert times == pytest.approx(expected)


def test_words_that_overlap_meet_half_way():
    first, second = noise(DELAY, (0.0, 3.0))([(1.0, 1.04), (1.2, 1.24)])
    assert first == pytest.approx((0.7, 0.97)) and second == pytest.approx((0.97, 1.24))


def test_without_a_delay_words_last_from_their_first_token_to_their_last():
    emissions = [(0.4, 0.52), (1.0, 1.04)]
    assert noise(None, (0.1, 0.6), (0.8, 1.2))(emissions) == emissions


@pytest.mark.parametrize("delay", [None, DELAY, Delay(begin=(-0.1, 0.3, 0.9), end=(-1.5, -0.4, 0.0))])
def test_words_are_in_order_apart_and_within_the_audio(delay):
    draw = random.Random(4)
    for _ in range(300):
        seconds = draw.choice([0.005, 0.03, 0.4, 2.0])
        starts = sorted(draw.choice([0.0, 0.04, 0.08, 0.4, 1.92, 1.96]) for _ in range(draw.randint(1, 12)))
        loud = [(a := draw.uniform(0, seconds), draw.uniform(a, seconds)) for _ in range(draw.randint(0, 4))]
        word_times = noise(delay, *loud, seconds=seconds)
        emissions = [(start, start + 0.04) for start in starts if start < seconds] or [(0.0, 0.04)]
        bounds = [bound for span in word_times(emissions) for bound in span]
        assert bounds == sorted(bounds) and bounds[0] >= 0 and bounds[-1] <= word_times.levels.seconds
        assert all(begin < end for begin, end in zip(bounds[::2], bounds[1::2], strict=True))


def test_a_delay_that_does_not_ascend_is_refused():
    with pytest.raises(ConfigError, match=r"begin: needs lowest, median and highest in this order"):
        parse(Delay, {"begin": [0, -0.3, 0], "end": [0, 0, 0]})


def test_audio_to_come_changes_no_word_that_is_settled():
    whole = noise(DELAY, (0.7, 1.1), (1.4, 1.9))
    word_times, samples = WordTimes(Levels(8000), DELAY), np.zeros(24000, np.float32)
    samples[5600:8800] = samples[11200:15200] = 0.1
    emissions, given = [(1.0, 1.04), (1.8, 1.84)], []
    for start in range(0, 24000, 400):
        word_times.levels.push(samples[start : start + 400])
        heard = [emission for emission in emissions if emission[1] <= (start + 400) / 8000]
        given.append(word_times(heard))
    assert given[-1] == whole(emissions)
    assert np.allclose(given[-1], [(0.7, 1.1), (1.4, 1.9)])
    settled = [row[0] for row, end in zip(given, range(400, 24400, 400), strict=True) if end >= 8000 * (1.24 + 0.08)]
    assert len(settled) > 5 and set(settled) == {given[-1][0]}


def test_audio_past_the_end_of_a_segment_changes_no_word():
    loud = [(0.7, 1.1), (1.16, 1.5), (2.2, 2.4)]
    early, late = noise(DELAY, *loud, seconds=1.2), noise(DELAY, *loud)
    late([(1.0, 1.04)])  # settled by all the audio, which the end of the segment then takes back
    assert early([(1.0, 1.04)], until=1.12) == late([(1.0, 1.04)], until=1.12) != late([(1.0, 1.04)])


def test_words_begin_after_the_segment_before_and_need_no_more_of_it():
    word_times = noise(DELAY, (0.0, 3.0))
    before = word_times([(2.0, 2.04)])
    word_times.forget(1.8)
    assert word_times([(2.0, 2.04)]) == before and word_times([(2.0, 2.04)], after=1.9)[0][0] == 1.9
