"""The LightningModule: losses of the heads, validation by greedy search, and the optimiser."""

from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from audiorec.audio.spec_augment import spec_augment
from audiorec.data.batches import Batch, SpeechData
from audiorec.data.draws import seed_of
from audiorec.losses import sum_losses
from audiorec.models import AsrModel
from audiorec.text import Tokenizer
from audiorec.training.aligner import Aligner
from audiorec.training.checkpoints import LAST
from audiorec.training.config import RunConfig
from audiorec.training.consistency import disagreement, twice
from audiorec.training.distill import Teacher
from audiorec.training.freeze import keep_still
from audiorec.training.gradients import add_noise, recompute
from audiorec.training.optimizer import optimizer
from audiorec.training.ranks import add_up, ranks, writes
from audiorec.training.schedule import set_rate
from audiorec.training.tally import READ_EVERY, LossTally, Measure


class Training(lightning.LightningModule):
    """Trains ``model`` as ``config`` says. All randomness is a function of (seed, epoch, utterance or batch).

    ``metrics`` are those of the last epoch: train_loss and valid_loss (per target, heads weighted), ``metric``, which is the
    first head's (valid_wer), train_dropped and valid_dropped (utterances without a path), audio_seconds; distillation_loss,
    nats a frame, where there is a teacher. Where several processes train, losses, errors and seconds are those of all of them.
    """

    def __init__(self, model: AsrModel, tokenizer: Tokenizer, config: RunConfig, train: SpeechData, valid: SpeechData):
        super().__init__()
        self.model = model
        if config.trainer.recompute:
            recompute(model)
        self.teacher = Teacher(config.trainer, model, tokenizer) if config.trainer.teacher else None
        self.aligner = Aligner(config.trainer.aligner, model, tokenizer) if config.trainer.aligner else None
        self.tokenizer = tokenizer
        self.config = config
        self.train_data = train
        self.valid_data = valid
        # An epoch's number of batches differs a little from epoch to epoch: that of the first.
        together = config.trainer.devices * config.trainer.nodes
        self.batches_per_epoch = len(train.training(config.augment, config.trainer.seed, 0, share=(0, together)))
        self.metric = f"valid_{config.metric}"
        self.metrics: dict[str, float] = {}
        self.samples = torch.zeros((), dtype=torch.int64)
        self.distilled = torch.zeros(2)  # divergence from the teacher, and over how many frames
        self.train_tally, self.valid_tally = self._tally(), self._tally()

    @property
    def measure(self) -> Measure:
        return Measure(self.metric, self.model.head().error_rate(self.tokenizer), 100, " %")

    def _tally(self) -> LossTally:
        return LossTally([head.weight for head in self.model.heads.values()])

    def train(self, mode: bool = True) -> "Training":
        super().train(mode)
        keep_still(self.model)
        return self

    def train_dataloader(self) -> DataLoader:
        options, within = self.config.trainer, self.trainer.fit_loop.epoch_loop.batch_progress
        done = 0 if within.is_last_batch else within.current.ready  # of an epoch that was saved within
        # The last epoch is cut short, so that it ends as every other: with validation and a checkpoint.
        left = None
        if options.max_steps is not None:
            begun = self.global_step - done // options.accumulate
            left = max(options.max_steps - begun, 1) * options.accumulate
        epoch, share = self.current_epoch, (self.global_rank, self.trainer.world_size)
        return self.train_data.training(self.config.augment, options.seed, epoch, left, done, share)

    def val_dataloader(self) -> DataLoader:
        return self.valid_data.as_recorded((self.global_rank, self.trainer.world_size))

    def on_train_start(self) -> None:
        self.samples, self.distilled = self.samples.to(self.device), self.distilled.to(self.device)
        self.gradient_norm = torch.zeros((), device=self.device)  # until the first step

    def on_train_epoch_start(self) -> None:
        self.train_tally = self._tally()
        self.samples = torch.zeros_like(self.samples)
        self.distilled = torch.zeros_like(self.distilled)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["epoch_so_far"] = {
            "tally": self.train_tally.over_ranks().state(),
            "samples": int(add_up(self.samples)),
            "distilled": add_up(self.distilled).tolist(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # What all processes heard goes on in the first of them. An older checkpoint has none: it ends an epoch.
        if writes() and (so_far := checkpoint.get("epoch_so_far")):
            self.train_tally.resume(so_far["tally"])
            self.samples = torch.tensor(so_far["samples"])
            self.distilled = torch.tensor(so_far.get("distilled", [0.0, 0.0]))

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # What layers draw for themselves (dropout) must not depend on the batches before it.
        draw = f"dropout of batch {batch_idx}, rank {self.global_rank}"
        torch.manual_seed(seed_of(self.config.trainer.seed, self.current_epoch, draw))
        set_rate(self, self.config, batch_idx)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        options, rows = self.config.trainer, len(batch.lengths)
        self.samples += batch.lengths.sum()
        if options.consistency:
            batch = twice(batch)

        def augment(x: Tensor, lengths: Tensor) -> Tensor:
            return spec_augment(x, lengths, batch.seeds, self.config.spec_augment)

        frames = self.model.frames(batch.samples, batch.lengths, augment=augment)
        losses = self._losses(frames, batch)
        sums, targets, _ = sum_losses(losses, self._target_lengths(batch))
        # The mean per target of all processes' batches: their gradients are averaged, so each is worth as many as there are.
        means = sums / add_up(targets).clamp(min=1) * ranks()
        loss = sum(head.weight * mean for head, mean in zip(self.model.heads.values(), means, strict=True))
        if self.teacher:
            lacking, count = self.teacher.divergence(self.model, frames, batch)
            self.distilled += torch.stack([lacking.detach(), count])
            loss = loss + options.teacher_weight * lacking / add_up(count).clamp(min=1) * ranks()
        if options.consistency:
            apart = disagreement(self.model, frames) / (add_up(targets)[0] / 2).clamp(min=1) * ranks()
            loss = loss + options.consistency * apart
        return {"loss": loss, "losses": losses[:, :rows]}

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        if self.config.optimizer.gradient_noise:
            add_noise(self.model, self.config.optimizer.gradient_noise, self.config.trainer.seed, self.global_step)

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float, gradient_clip_algorithm: str | None = None
    ) -> None:
        self.gradient_norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), gradient_clip_val)

    def on_train_batch_end(self, outputs: dict[str, Tensor], batch: Batch, batch_idx: int) -> None:
        place = f"training step {self.global_step}"
        self.train_tally.add(place, batch.ids, outputs["losses"], self._target_lengths(batch), self.gradient_norm)
        if batch_idx % READ_EVERY == 0 or self.trainer.is_last_batch:
            self._log_batch()
        if self._is_to_be_saved(batch_idx):
            self.trainer.save_checkpoint(Path(self.trainer.checkpoint_callback.dirpath) / LAST, weights_only=False)

    def _is_to_be_saved(self, batch_idx: int) -> bool:
        """Whether an epoch is saved within: after every so many steps, and where the run is told to end."""
        options = self.config.trainer
        if self.trainer.is_last_batch or (batch_idx + 1) % options.accumulate:  # gradients of half a step would be lost
            return False
        # Processes save together, and not all of them are told.
        told_to_end = self.trainer.received_sigterm and ranks() == 1
        return told_to_end or self.global_step % options.checkpoint_steps == 0

    def _log_batch(self) -> None:
        self.train_tally.read()
        figures = {
            "train_batch_loss": self.train_tally.batch_losses[-1],
            "gradient_norm": self.train_tally.gradient_norm,
            "learning_rate": self.optimizers().param_groups[0]["lr"],
        }
        for one in self.loggers:
            one.log_metrics(figures, self.global_step)

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
        self.train_tally, self.valid_tally = self.train_tally.over_ranks(), self.valid_tally.over_ranks()
        errors, units = add_up(torch.tensor([self.errors, self.units])).tolist()
        self.metrics = {
            "train_loss": self.train_tally.mean("training"),
            "train_dropped": len(self.train_tally.without_path),
            "audio_seconds": int(add_up(self.samples)) / self.model.sample_rate,
            "valid_loss": self.valid_tally.mean("validation"),
            "valid_dropped": len(self.valid_tally.without_path),
            self.metric: errors / max(units, 1),
        }
        if self.teacher:
            lacking, count = add_up(self.distilled).tolist()
            self.metrics["distillation_loss"] = lacking / max(count, 1)
        # Under `recent` a later epoch ranks higher: where the schedule ends near zero, the last checkpoints average best.
        ranking = {name: value for name, value in self.metrics.items() if name.endswith("_loss") or name == self.metric}
        self.log_dict({**ranking, "recent": -float(self.current_epoch)})

    def _losses(self, frames: dict[str, tuple[Tensor, Tensor]], batch: Batch) -> Tensor:
        """(H, B): each head's losses of the encoder frames that it reads, (B, T, C) and their lengths."""
        paths = self.aligner.paths(batch) if self.aligner else {}
        losses = []
        for name, head in self.model.heads.items():
            given = *frames[name], *batch.targets[head.task.name]
            losses.append(head.losses(*given, paths[name]) if name in paths else head.losses(*given))
        return torch.stack(losses)

    def _target_lengths(self, batch: Batch) -> Tensor:
        """(H, B): how many targets each head has of each row."""
        return torch.stack([batch.targets[head.task.name].lengths for head in self.model.heads.values()])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return optimizer(self.model, self.config.optimizer)
