"""The LightningModule: losses of the heads, validation by greedy search, and the optimiser."""

from typing import Any

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from audiorec.audio.spec_augment import spec_augment
from audiorec.data.batches import Batch, SpeechData
from audiorec.data.draws import seed_of
from audiorec.losses import mean_per_token
from audiorec.models import AsrModel
from audiorec.text import Tokenizer
from audiorec.training.config import RunConfig
from audiorec.training.freeze import keep_still
from audiorec.training.optimizer import parameter_groups
from audiorec.training.schedule import learning_rate_factor
from audiorec.training.tally import LossTally

READ_EVERY = 10  # batches between two readings of the losses: each makes a GPU wait


class Training(lightning.LightningModule):
    """Trains ``model`` as ``config`` says. All randomness is a function of (seed, epoch, utterance).

    ``metrics`` are those of the last epoch: train_loss and valid_loss (per target, heads weighted), ``metric``, which is the
    first head's (valid_wer), train_dropped and valid_dropped (utterances without a path), audio_seconds.
    """

    def __init__(self, model: AsrModel, tokenizer: Tokenizer, config: RunConfig, train: SpeechData, valid: SpeechData):
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.config = config
        self.train_data = train
        self.valid_data = valid
        # An epoch's number of batches differs a little from epoch to epoch: that of the first.
        self.batches_per_epoch = len(train.training(config.augment, config.trainer.seed, 0))
        self.metric = f"valid_{config.metric}"
        self.metrics: dict[str, float] = {}
        self.train_tally, self.valid_tally = self._tally(), self._tally()

    def _tally(self) -> LossTally:
        return LossTally([head.weight for head in self.model.heads.values()])

    def train(self, mode: bool = True) -> "Training":
        super().train(mode)
        keep_still(self.model)
        return self

    def train_dataloader(self) -> DataLoader:
        options = self.config.trainer
        # The last epoch is cut short, so that it ends as every other: with validation and a checkpoint.
        left = None if options.max_steps is None else max(options.max_steps - self.global_step, 1)
        return self.train_data.training(self.config.augment, options.seed, self.current_epoch, left)

    def val_dataloader(self) -> DataLoader:
        return self.valid_data.as_recorded()

    def on_train_epoch_start(self) -> None:
        # What layers draw for themselves (dropout) must not depend on the epochs before it.
        torch.manual_seed(seed_of(self.config.trainer.seed, self.current_epoch, "dropout"))
        self.train_tally = self._tally()
        self.samples = torch.zeros((), dtype=torch.int64, device=self.device)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        options, trainer = self.config.optimizer, self.config.trainer
        done = (self.current_epoch + batch_idx / self.batches_per_epoch) / trainer.max_epochs
        if trainer.max_steps:
            done = max(done, self.global_step / trainer.max_steps)
        factor = learning_rate_factor(options.schedule, options.warmup_steps, self.global_step, done)
        for group in self.optimizers().param_groups:
            group["lr"] = options.lr * factor * group.get("scale", 1.0)  # a checkpoint from before has none

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        def augment(x: Tensor, lengths: Tensor) -> Tensor:
            return spec_augment(x, lengths, batch.seeds, self.config.spec_augment)

        losses = self._losses(self.model.frames(batch.samples, batch.lengths, augment=augment), batch)
        self.samples += batch.lengths.sum()
        means, _ = mean_per_token(losses, self._target_lengths(batch))
        loss = sum(head.weight * mean for head, mean in zip(self.model.heads.values(), means, strict=True))
        return {"loss": loss, "losses": losses}

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float, gradient_clip_algorithm: str | None = None
    ) -> None:
        self.gradient_norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), gradient_clip_val)

    def on_train_batch_end(self, outputs: dict[str, Tensor], batch: Batch, batch_idx: int) -> None:
        place = f"training step {self.global_step}"
        self.train_tally.add(place, batch.ids, outputs["losses"], self._target_lengths(batch), self.gradient_norm)
        if batch_idx % READ_EVERY and not self.trainer.is_last_batch:
            return
        self.train_tally.read()
        figures = {
            "train_batch_loss": self.train_tally.batch_losses[-1],
            "gradient_norm": self.train_tally.gradient_norm,
            "learning_rate": self.optimizers().param_groups[0]["lr"],
        }
        self.logger.log_metrics(figures, self.global_step)

    def on_validation_epoch_start(self) -> None:
        self.valid_tally = self._tally()
        self.errors = self.units = 0

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        frames = self.model.frames(batch.samples, batch.lengths)
        place = f"validation after step {self.global_step}"
        self.valid_tally.add(place, batch.ids, self._losses(frames, batch), self._target_lengths(batch))
        self.valid_tally.read()
        head = self.model.head()
        errors, units = head.errors(
            *next(iter(frames.values())), batch.targets[head.task.name], batch.texts, self.tokenizer
        )
        self.errors += errors
        self.units += units

    def on_validation_epoch_end(self) -> None:
        self.metrics = {
            "train_loss": self.train_tally.mean("training"),
            "train_dropped": len(self.train_tally.without_path),
            "audio_seconds": int(self.samples) / self.model.sample_rate,
            "valid_loss": self.valid_tally.mean("validation"),
            "valid_dropped": len(self.valid_tally.without_path),
            self.metric: self.errors / max(self.units, 1),
        }
        # Under `recent` a later epoch ranks higher: where the schedule ends near zero, the last checkpoints average best.
        ranks = {name: self.metrics[name] for name in ("train_loss", "valid_loss", self.metric)}
        self.log_dict({**ranks, "recent": -float(self.current_epoch)})

    def _losses(self, frames: dict[str, tuple[Tensor, Tensor]], batch: Batch) -> Tensor:
        """(H, B): each head's losses of the encoder frames that it reads, (B, T, C) and their lengths."""
        losses = [head.losses(*frames[name], *batch.targets[head.task.name]) for name, head in self.model.heads.items()]
        return torch.stack(losses)

    def _target_lengths(self, batch: Batch) -> Tensor:
        """(H, B): how many targets each head has of each row."""
        return torch.stack([batch.targets[head.task.name].lengths for head in self.model.heads.values()])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        options = self.config.optimizer
        return torch.optim.AdamW(parameter_groups(self.model, options), lr=options.lr, betas=options.betas)
