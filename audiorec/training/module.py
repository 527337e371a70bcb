"""The LightningModule: losses of the heads, validation by greedy search, and the optimiser."""

from typing import Any

import jiwer
import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from audiorec.audio.spec_augment import spec_augment
from audiorec.data.batches import Batch, SpeechData
from audiorec.data.draws import seed_of
from audiorec.losses import mean_per_token
from audiorec.models import AsrModel
from audiorec.search import decode
from audiorec.text import Tokenizer
from audiorec.training.config import RunConfig
from audiorec.training.freeze import keep_still
from audiorec.training.optimizer import parameter_groups
from audiorec.training.schedule import set_rate
from audiorec.training.tally import READ_EVERY, LossTally, Measure


class Training(lightning.LightningModule):
    """Trains ``model`` as ``config`` says. All randomness is a function of (seed, epoch, utterance).

    ``metrics`` are those of the last epoch: train_loss and valid_loss (per token, heads weighted), valid_wer,
    train_dropped and valid_dropped (utterances without a path), audio_seconds.
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
        self.metrics: dict[str, float] = {}
        self.train_tally, self.valid_tally = self._tally(), self._tally()

    @property
    def measure(self) -> Measure:
        return Measure("valid_wer", self.tokenizer.error_rate, 100, " %")

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
        set_rate(self, self.config, batch_idx)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        def augment(x: Tensor, lengths: Tensor) -> Tensor:
            return spec_augment(x, lengths, batch.seeds, self.config.spec_augment)

        losses = self._losses(self.model.frames(batch.samples, batch.lengths, augment=augment), batch)
        self.samples += batch.lengths.sum()
        means, _ = mean_per_token(losses, batch.token_lengths)
        loss = sum(head.weight * mean for head, mean in zip(self.model.heads.values(), means, strict=True))
        return {"loss": loss, "losses": losses}

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float, gradient_clip_algorithm: str | None = None
    ) -> None:
        self.gradient_norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), gradient_clip_val)

    def on_train_batch_end(self, outputs: dict[str, Tensor], batch: Batch, batch_idx: int) -> None:
        place = f"training step {self.global_step}"
        self.train_tally.add(place, batch.ids, outputs["losses"], batch.token_lengths, self.gradient_norm)
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
        self.references, self.hypotheses = [], []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        frames = self.model.frames(batch.samples, batch.lengths)
        place = f"validation after step {self.global_step}"
        self.valid_tally.add(place, batch.ids, self._losses(frames, batch), batch.token_lengths)
        self.valid_tally.read()
        self.references += [self.tokenizer.expected(text) for text in batch.texts]
        decoded = decode(self.model.head().search(), *next(iter(frames.values())))
        self.hypotheses += [self.tokenizer.decode((said + ending.best).ids) for said, ending in decoded]

    def on_validation_epoch_end(self) -> None:
        self.metrics = {
            "train_loss": self.train_tally.mean("training"),
            "train_dropped": len(self.train_tally.without_path),
            "audio_seconds": int(self.samples) / self.model.sample_rate,
            "valid_loss": self.valid_tally.mean("validation"),
            "valid_dropped": len(self.valid_tally.without_path),
            "valid_wer": jiwer.process_words(self.references, self.hypotheses).wer,
        }
        # Under `recent` a later epoch ranks higher: where the schedule ends near zero, the last checkpoints average best.
        ranks = {name: self.metrics[name] for name in ("train_loss", "valid_loss", "valid_wer")}
        self.log_dict({**ranks, "recent": -float(self.current_epoch)})

    def _losses(self, frames: dict[str, tuple[Tensor, Tensor]], batch: Batch) -> Tensor:
        """(H, B): each head's losses of the encoder frames that it reads, (B, T, C) and their lengths."""
        losses = [
            head.losses(*frames[name], batch.tokens, batch.token_lengths) for name, head in self.model.heads.items()
        ]
        return torch.stack(losses)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        options = self.config.optimizer
        return torch.optim.AdamW(parameter_groups(self.model, options), lr=options.lr, betas=options.betas)
