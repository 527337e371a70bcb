"""Learning rates as a function of training's progress, so that no schedule state is saved or resumed."""

import math


def learning_rate_factor(schedule: str, warmup_steps: int, step: int, done: float) -> float:
    """The share of the peak learning rate at optimiser step ``step``, with ``done`` (0 to 1) of all epochs over.

    Linear warm-up, then: cosine and linear fall to 1 % of the peak; inverse_sqrt falls as √(warm-up / step).
    """
    warm = min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
    done = min(max(done, 0.0), 1.0)
    match schedule:
        case "cosine":
            return warm * (0.01 + 0.99 * (0.5 + 0.5 * math.cos(math.pi * done)))
        case "linear":
            return warm * (1 - 0.99 * done)
        case "inverse_sqrt":
            return min(warm, math.sqrt(max(warmup_steps, 1) / (step + 1)))
        case "constant":
            return warm
    raise ValueError(f"unknown schedule {schedule!r}")
