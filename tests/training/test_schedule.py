"""Learning rates: warm-up, decay, and where they end."""

from itertools import pairwise

import pytest

from audiorec.config import parse
from audiorec.errors import ConfigError
from audiorec.training.config import OptimizerConfig
from audiorec.training.schedule import learning_rate_factor


def factor(schedule: str, warmup_steps: int, step: int, epoch: float, done: float, **more: float) -> float:
    options = parse(OptimizerConfig, {"schedule": schedule, "warmup_steps": warmup_steps, **more})
    return learning_rate_factor(options, step, epoch, done)


@pytest.mark.parametrize("schedule, end", [("cosine", 0.01), ("linear", 0.01), ("constant", 1.0)])
def test_warms_up_then_falls_to_its_end(schedule, end):
    rates = [factor(schedule, 10, step, 0, step / 1000) for step in range(1001)]
    assert rates[0] == pytest.approx(0.1, rel=0.01) and rates[9] == pytest.approx(1.0, rel=0.02)
    assert all(a >= b for a, b in pairwise(rates[10:])) and rates[-1] == pytest.approx(end)


def test_inverse_square_root():
    assert factor("inverse_sqrt", 100, 399, 0, 0.5) == pytest.approx(0.5)


def test_eden_falls_with_steps_and_with_epochs():
    """Its formula (Yao et al. 2023): ((t² + s²) / s²)^-¼ · ((e² + n²) / n²)^-¼, warmed up from a half."""
    assert factor("eden", 500, 0, 0, 0) == pytest.approx(0.501)
    assert factor("eden", 0, 7500, 0, 0.1) == factor("eden", 0, 0, 3.5, 0.9) == pytest.approx(2**-0.25)
    more = {"eden_steps": 100.0, "eden_epochs": 2.0}
    assert factor("eden", 10, 300, 5.0, 0.2, **more) == pytest.approx(10**-0.25 * (29 / 4) ** -0.25)
    with pytest.raises(ConfigError, match="eden_steps goes with schedule: eden, not with cosine"):
        factor("cosine", 10, 300, 5.0, 0.2, eden_steps=100)
