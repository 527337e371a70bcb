"""``trainer.grow``: a deep encoder that begins with few layers, to which the others are added while it trains."""

import re
from math import ceil

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from audiorec.encoders.stack import Stack
from audiorec.errors import ConfigError
from audiorec.training.log import logger
from audiorec.training.module import Training


class Grow(Callback):
    """Leaves out the upper layers at first and lets one more take part every few epochs, from the bottom up (Zeyer et al. 2018).

    Which do is a function of the epoch alone, so a run goes on as it was. Before all do, an epoch is no candidate for the
    saved model, and uses up no patience. Raises ConfigError where that comes too late, or the encoder has no such layers.
    """

    def __init__(self, training: Training):
        options, encoder = training.config.trainer, training.model.encoder
        self.options, self.keep_best = options.grow, options.keep_best
        self.layers = layers_of(encoder) if isinstance(encoder, Stack) else []
        if not self.layers:
            raise ConfigError("trainer.grow: this encoder has no layers that can be left out one by one; leave it out")
        if self.options.from_layers >= len(self.layers):
            raise ConfigError(
                f"trainer.grow.from_layers: the encoder has {len(self.layers)} layers; begin with fewer, or leave it out"
            )
        self.complete = (len(self.layers) - self.options.from_layers) * self.options.epochs  # the first whole epoch
        epochs = options.max_epochs
        if options.max_steps:
            epochs = min(epochs, ceil(options.max_steps * options.accumulate / training.batches_per_epoch))
        if self.complete >= epochs:
            raise ConfigError(
                f"trainer.grow: all {len(self.layers)} layers take part from epoch {self.complete + 1} on, and training "
                f"ends with epoch {epochs}; train longer, or begin with more layers"
            )

    def on_train_start(self, trainer: lightning.Trainer, training: Training) -> None:
        self._take_part(trainer, training)  # an epoch that goes on has no start

    def on_train_epoch_start(self, trainer: lightning.Trainer, training: Training) -> None:
        self._take_part(trainer, training)
        if trainer.current_epoch <= self.complete:
            for stopping in trainer.early_stopping_callbacks:
                stopping.best_score, stopping.wait_count = torch.tensor(torch.inf), 0

    def _take_part(self, trainer: lightning.Trainer, training: Training) -> None:
        epoch, encoder = trainer.current_epoch, training.model.encoder
        count = min(self.options.from_layers + epoch // self.options.epochs, len(self.layers))
        skipped = {name for layer in self.layers[count:] for name in layer}
        if skipped != encoder.skipped:
            encoder.skip(skipped)
            logger.info(f"epoch {epoch + 1:3}: {count} of {len(self.layers)} layers take part")
        trainer.checkpoint_callback.save_top_k = 0 if epoch < self.complete else self.keep_best


def layers_of(encoder: Stack) -> list[list[str]]:
    """The names of each layer, and of what belongs to it: all that follows it, but for a change of the frames' rate."""
    layers: list[list[str]] = []
    for name in encoder.layer_names:
        if re.fullmatch(r"layer\d+", name):
            layers.append([name])
        elif layers and encoder.get_submodule(name).stride == 1:
            layers[-1].append(name)
    return layers
