"""Learning rates as a function of training's progress, so that no schedule state is saved or resumed."""

import math
from typing import Any


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


def set_rate(training: Any, config: Any, batch_idx: int) -> None:
    """The learning rate of the step that begins, of all groups of parameters."""
    options, trainer = config.optimizer, config.trainer
    done = (training.current_epoch + batch_idx / training.batches_per_epoch) / trainer.max_epochs
    if trainer.max_steps:
        done = max(done, training.global_step / trainer.max_steps)
    factor = learning_rate_factor(options.schedule, options.warmup_steps, training.global_step, done)
    for group in training.optimizers().param_groups:
        group["lr"] = options.lr * factor * group.get("scale", 1.0)  # a checkpoint from before has none
