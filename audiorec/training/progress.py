"""Progress within an epoch: bars in a terminal, a line a minute elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from audiorec.training.log import logger
from audiorec.training.module import Training

SECONDS_BETWEEN_LINES = 60.0


@contextmanager
def progress(quiet: bool) -> Iterator[list[Callback]]:
    """The callbacks that show progress while this lasts; none where ``quiet``."""
    console = Console()
    if quiet:
        yield []
    elif console.is_terminal:
        columns = (
            *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=console, transient=True, speed_estimate_period=600) as bars:
            yield [Bars(bars)]
    else:
        yield [Lines()]


class Bars(Callback):
    """A bar for the epoch, its validation included, and one for the whole training."""

    def __init__(self, bars: Progress):
        self.bars = bars

    def on_train_start(self, trainer: lightning.Trainer, module: Training) -> None:
        total = trainer.max_epochs * module.batches_per_epoch
        if steps := module.config.trainer.max_steps:
            total = min(total, steps)
        self.epoch = self.bars.add_task("", note="")
        self.whole = self.bars.add_task("training", total=total, completed=trainer.global_step, note="")
        self.on_train_epoch_start(trainer, module)  # an epoch that goes on has no start
        self.bars.update(self.epoch, completed=trainer.fit_loop.epoch_loop.batch_progress.current.ready)

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: Training) -> None:
        title = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        self.bars.reset(self.epoch, description=title, total=trainer.num_training_batches)

    def on_train_batch_end(self, trainer: lightning.Trainer, module: Training, *_: Any) -> None:
        losses = module.train_tally.batch_losses
        self.bars.update(self.epoch, advance=1, note=f"loss {losses[-1]:.4f}" if losses else "")
        self.bars.advance(self.whole)

    def on_validation_start(self, trainer: lightning.Trainer, module: Training) -> None:
        self.bars.reset(self.epoch, description="validation", total=sum(trainer.num_val_batches))

    def on_validation_batch_end(self, trainer: lightning.Trainer, module: Training, *_: Any) -> None:
        self.bars.advance(self.epoch)


class Lines(Callback):
    """A line a minute: how far the epoch is."""

    def on_train_start(self, trainer: lightning.Trainer, module: Training) -> None:
        # An epoch that goes on has no start.
        self.start, self.begun = time.monotonic(), trainer.fit_loop.epoch_loop.batch_progress.current.ready
        self.last_line = self.start

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: Training) -> None:
        self.start, self.begun = time.monotonic(), 0
        self.last_line = self.start

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: Training, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.monotonic()
        if now - self.last_line < SECONDS_BETWEEN_LINES:
            return
        self.last_line = now
        done, total = batch_idx + 1, trainer.num_training_batches
        left = (now - self.start) / (done - self.begun) * (total - done)
        losses = module.train_tally.batch_losses
        logger.info(
            "epoch %3d/%d  batch %d/%d%s  %.1f min left in it",
            *(trainer.current_epoch + 1, trainer.max_epochs, done, total),
            *(f"  loss {losses[-1]:.4f}" if losses else "", left / 60),
        )
