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
from audiorec.training.schedule import learning_rate_factor


class Training(lightning.LightningModule):
    """Trains ``model`` as ``config`` says. All randomness is a function of (seed, epoch, utterance)."""

    def __init__(self, model: AsrModel, tokenizer: Tokenizer, config: RunConfig, train: SpeechData, valid: SpeechData):
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.config = config
        self.train_data = train
        self.valid_data = valid
        self.batches_per_epoch = self._count_batches()
        self.metrics: dict[str, float] = {}  # of the epoch under way

    def _count_batches(self) -> int:
        """An epoch's number of batches, which differs a little from epoch to epoch: that of the first."""
        loader = self.train_data.training(self.config.augment, self.config.trainer.seed, 0)
        return len(loader)

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
        self.seen: list[tuple[Tensor, Tensor]] = []  # (loss, rows left out) of every batch
        self.samples = 0

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        options, trainer = self.config.optimizer, self.config.trainer
        done = (self.current_epoch + batch_idx / self.batches_per_epoch) / trainer.max_epochs
        if trainer.max_steps:
            done = max(done, self.global_step / trainer.max_steps)
        factor = learning_rate_factor(options.schedule, options.warmup_steps, self.global_step, done)
        for group in self.optimizers().param_groups:
            group["lr"] = options.lr * factor

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        x, lengths = self.model.features(batch.samples[..., None], batch.lengths)
        x = spec_augment(x, lengths, batch.seeds, self.config.spec_augment)
        loss, dropped = self._loss(*self.model.encoder(x, lengths), batch)
        self.seen.append((loss.detach(), dropped))
        self.samples += int(batch.lengths.sum())
        self.log("train_loss", loss, batch_size=len(batch.ids))
        return loss

    def on_validation_epoch_start(self) -> None:
        self.loss_sum, self.references, self.hypotheses = 0.0, [], []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        x, lengths = self.model(batch.samples, batch.lengths)
        loss, _ = self._loss(x, lengths, batch)
        self.loss_sum += float(loss) * len(batch.ids)
        self.references += batch.texts
        decoded = decode(self.model.head().search(), x, lengths)
        self.hypotheses += [self.tokenizer.decode(one.best.ids) for one in decoded]

    def on_validation_epoch_end(self) -> None:
        words = jiwer.process_words(self.references, self.hypotheses)
        losses, dropped = (torch.stack(values) for values in zip(*self.seen, strict=True))
        self.losses = losses.tolist()
        self.metrics["train_loss"], self.metrics["dropped"] = float(losses.mean()), int(dropped.sum())
        self.metrics["audio_seconds"] = self.samples / self.model.sample_rate
        self.metrics["valid_loss"] = self.loss_sum / len(self.references)
        self.metrics["valid_wer"] = words.wer
        # The later, the better: where the schedule ends near zero, the last checkpoints average best.
        ranks = {"valid_loss": self.metrics["valid_loss"], "valid_wer": words.wer, "recent": -float(self.current_epoch)}
        self.log_dict(ranks)

    def _loss(self, x: Tensor, lengths: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """The heads' losses, weighted, and the number of rows that none of them could place on a path."""
        total, dropped = x.new_zeros(()), torch.zeros_like(lengths[0])
        for head in self.model.heads.values():
            losses = head.losses(x, lengths, batch.tokens, batch.token_lengths)
            loss, left_out = mean_per_token(losses, batch.token_lengths)
            total = total + head.weight * loss
            dropped = dropped + left_out
        return total, dropped

    def configure_optimizers(self) -> torch.optim.Optimizer:
        options = self.config.optimizer
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        # Matrices decay, but for those that a module marks as no weights at all, such as Mamba's A.
        decays = [p.ndim > 1 and not getattr(p, "_no_weight_decay", False) for p in parameters]
        groups: list[dict[str, Any]] = [
            {"params": [p for p, d in zip(parameters, decays, strict=True) if d], "weight_decay": options.weight_decay},
            {"params": [p for p, d in zip(parameters, decays, strict=True) if not d], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=options.lr, betas=options.betas)
