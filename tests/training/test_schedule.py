"""Learning rates: warm-up, decay, and where they end."""

from itertools import pairwise

import pytest

from audiorec.training.schedule import learning_rate_factor


@pytest.mark.parametrize("schedule, end", [("cosine", 0.01), ("linear", 0.01), ("constant", 1.0)])
def test_warms_up_then_falls_to_its_end(schedule, end):
    rates = [learning_rate_factor(schedule, 10, step, step / 1000) for step in range(1001)]
    assert rates[0] == pytest.approx(0.1, rel=0.01) and rates[9] == pytest.approx(1.0, rel=0.02)
    assert all(a >= b for a, b in pairwise(rates[10:])) and rates[-1] == pytest.approx(end)


def test_inverse_square_root():
    assert learning_rate_factor("inverse_sqrt", 100, 399, 0.5) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="unknown schedule"):
        learning_rate_factor("step", 0, 0, 0)
