"""Learning rates as a function of training's progress, so that no schedule state is saved or resumed."""

import math
from typing import Any

from audiorec.training.config import OptimizerConfig


def learning_rate_factor(options: OptimizerConfig, step: int, epoch: float, done: float) -> float:
    """The share of the peak learning rate at optimiser step ``step``, ``epoch`` epochs after the begin, when ``done`` (0 to
    1) of the training is over.

    Linear warm-up, then: cosine and linear fall to 1 % of the peak; inverse_sqrt falls as √(warm-up / step), as Noam does.
    Eden (Yao et al. 2023) warms up from a half, then falls as the root of steps and of epochs, however long the training is.
    """
    warmup = options.warmup_steps
    warm = min(1.0, (step + 1) / warmup) if warmup else 1.0
    done = min(max(done, 0.0), 1.0)
    match options.schedule:
        case "cosine":
            return warm * (0.01 + 0.99 * (0.5 + 0.5 * math.cos(math.pi * done)))
        case "linear":
            return warm * (1 - 0.99 * done)
        case "inverse_sqrt":
            return min(warm, math.sqrt(max(warmup, 1) / (step + 1)))
        case "eden":
            falls = (1 + (step / options.eden_steps) ** 2) * (1 + (epoch / options.eden_epochs) ** 2)
            return (0.5 + 0.5 * warm) * falls**-0.25
        case _:
            return warm


def set_rate(training: Any, config: Any, batch_idx: int) -> None:
    """The learning rate of the step that begins, of all groups of parameters."""
    options, trainer = config.optimizer, config.trainer
    epoch = training.current_epoch + batch_idx / training.batches_per_epoch
    done = epoch / trainer.max_epochs
    if trainer.max_steps:
        done = max(done, training.global_step / trainer.max_steps)
    factor = learning_rate_factor(options, training.global_step, epoch, done)
    for group in training.optimizers().param_groups:
        group["lr"] = options.lr * factor * group.get("scale", 1.0)  # a checkpoint from before has none
