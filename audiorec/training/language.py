"""``audiorec train`` of a language model: texts in place of recordings, the same run folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import lightning
import numpy as np
import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from audiorec import __version__
from audiorec.config import Config, load_config
from audiorec.data.buckets import bucket
from audiorec.data.draws import generator, seed_of
from audiorec.data.texts import read_texts
from audiorec.errors import ConfigError, UserError
from audiorec.losses import mean_per_token
from audiorec.models import LanguageModel, LanguageModelConfig, parameter_count, save_model
from audiorec.models.language import pad
from audiorec.text import Tokenizer, describe_size, load_tokenizer
from audiorec.training.checkpoints import LAST, average_weights, best_checkpoints
from audiorec.training.config import OptimizerConfig, TrainerConfig
from audiorec.training.log import logger, logging_to
from audiorec.training.loop import claim, find_tokenizer, finished_epochs, fit, is_over, make_trainer
from audiorec.training.optimizer import optimizer
from audiorec.training.precision import resolve_accelerator, resolve_precision
from audiorec.training.progress import progress
from audiorec.training.schedule import set_rate
from audiorec.training.tally import READ_EVERY, LossTally, Measure


class TextConfig(Config):
    batch_tokens: PositiveInt = Field(8000, description="pieces of a batch, padding included")
    buckets: PositiveInt = Field(30, description="groups of texts of like length that batches are made of")


class LanguageTrainerConfig(TrainerConfig):
    monitor: Literal["valid_loss", "recent"] = Field(
        "valid_loss", description="what ranks checkpoints; recent: a later one is better"
    )

    @model_validator(mode="after")
    def _of_recognisers(self) -> "LanguageTrainerConfig":
        of_recognisers = (
            "init_from",
            "init_from_recipe",
            "freeze",
            "lora",
            "grow",
            "teacher",
            "aligner",
            "aligner_recipe",
            "consistency",
            "devices",
            "nodes",
            "recompute",
            "checkpoint_steps",
        )
        for key in of_recognisers:
            if getattr(self, key) != TrainerConfig.model_fields[key].default:
                raise ValueError(f"trainer.{key}: is of recognisers; a language model's training has none")
        return self


class LanguageRunConfig(LanguageModelConfig):
    """A recipe of a language model: what has a part ``language``."""

    texts: TextConfig = Field(TextConfig(), description="in which batches texts are trained on")
    optimizer: OptimizerConfig = Field(OptimizerConfig(), description="the optimiser and its learning rate")
    trainer: LanguageTrainerConfig = Field(LanguageTrainerConfig(), description="how long, in which precision")


class TextBatch(NamedTuple):
    symbols: Tensor  # (B, S)
    lengths: Tensor  # (B,)


class Texts(Dataset):
    """The batches of an epoch."""

    def __init__(self, texts: Sequence[np.ndarray], config: TextConfig, random: np.random.Generator | None):
        self.texts = texts
        self.batches = bucket([len(text) + 1 for text in texts], config.batch_tokens, config.buckets, random)

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> TextBatch:
        return TextBatch(*pad([self.texts[i].tolist() for i in self.batches[index]]))


class LanguageTraining(lightning.LightningModule):
    """Trains ``model`` on encoded texts. All randomness is a function of (seed, epoch).

    ``metrics`` are those of the last epoch: train_loss and valid_loss, nats a piece, ends of texts included, and
    valid_perplexity.
    """

    measure = Measure("valid_perplexity", "perplexity")

    def __init__(
        self, model: LanguageModel, config: LanguageRunConfig, train: list[np.ndarray], valid: list[np.ndarray]
    ):
        super().__init__()
        self.model = model
        self.config = config
        self.train_texts, self.valid_texts = train, valid
        self.batches_per_epoch = len(self._epoch(0))
        self.metrics: dict[str, float] = {}
        self.train_tally, self.valid_tally = LossTally([1.0]), LossTally([1.0])

    def _epoch(self, epoch: int) -> Texts:
        return Texts(self.train_texts, self.config.texts, generator(self.config.trainer.seed, epoch, "batches"))

    def train_dataloader(self) -> DataLoader:
        options, texts = self.config.trainer, self._epoch(self.current_epoch)
        if options.max_steps is not None:
            texts.batches = texts.batches[: max(options.max_steps - self.global_step, 1)]
        return _loader(texts)

    def val_dataloader(self) -> DataLoader:
        return _loader(Texts(self.valid_texts, self.config.texts, None))

    def on_train_epoch_start(self) -> None:
        torch.manual_seed(seed_of(self.config.trainer.seed, self.current_epoch, "dropout"))
        self.train_tally = LossTally([1.0])
        self.gradient_norm = torch.zeros((), device=self.device)  # until the first step

    def on_train_batch_start(self, batch: TextBatch, batch_idx: int) -> None:
        set_rate(self, self.config, batch_idx)

    def training_step(self, batch: TextBatch, batch_idx: int) -> dict[str, Tensor]:
        losses = self.model.losses(*batch)[None]
        return {"loss": mean_per_token(losses, batch.lengths + 1)[0].sum(), "losses": losses}

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float, gradient_clip_algorithm: str | None = None
    ) -> None:
        self.gradient_norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), gradient_clip_val)

    def on_train_batch_end(self, outputs: dict[str, Tensor], batch: TextBatch, batch_idx: int) -> None:
        place = f"training step {self.global_step}"
        names = [f"{len(batch.lengths)} texts"] * len(batch.lengths)
        self.train_tally.add(place, names, outputs["losses"], batch.lengths + 1, self.gradient_norm)
        if batch_idx % READ_EVERY == 0 or self.trainer.is_last_batch:
            self.train_tally.read()
            for one in self.loggers:
                one.log_metrics({"train_batch_loss": self.train_tally.batch_losses[-1]}, self.global_step)

    def on_validation_epoch_start(self) -> None:
        self.valid_tally = LossTally([1.0])

    def validation_step(self, batch: TextBatch, batch_idx: int) -> None:
        names = ["texts"] * len(batch.lengths)
        place = f"validation after step {self.global_step}"
        self.valid_tally.add(place, names, self.model.losses(*batch)[None], batch.lengths + 1)
        self.valid_tally.read()

    def on_validation_epoch_end(self) -> None:
        loss = self.valid_tally.mean("validation")
        self.metrics = {
            "train_loss": self.train_tally.mean("training"),
            "valid_loss": loss,
            "valid_perplexity": float(np.exp(loss)),
        }
        self.log_dict({"valid_loss": loss, "recent": -float(self.current_epoch)})

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return optimizer(self.model, self.config.optimizer)


def train_language_model(
    config: LanguageRunConfig,
    train: Sequence[Path],
    valid: Sequence[Path],
    out: Path,
    tokenizer_dir: Path | None = None,
    quiet: bool = False,
) -> Path:
    """Train on texts (files of one a line, Kaldi's ``text``, data directories) into the run folder ``out``; returns the model
    directory in it. It goes on and raises as ``audiorec.training.run.train``."""
    if config.tokenizer.kind == "phone":
        raise ConfigError("tokenizer.kind: a language model predicts pieces of text, not phones")
    accelerator = resolve_accelerator(config.trainer.accelerator)
    with claim(out, config), logging_to(out, quiet):
        last = out / "checkpoints" / LAST
        over = is_over(last, config.trainer)
        if over and (out / "model").is_dir():
            logger.info(f"{out}: already trained, {finished_epochs(last)} epochs")
            return out / "model"
        tokenizer = find_tokenizer(config, out, tokenizer_dir, lambda: [t for path in train for t in read_texts(path)])
        torch.manual_seed(config.trainer.seed)
        texts = [[ids for path in paths for ids in _encoded(path, tokenizer, config)] for paths in (train, valid)]
        training = LanguageTraining(LanguageModel(config.language, tokenizer.size), config, *texts)
        precision = resolve_precision(config.trainer.precision, accelerator)
        logger.info(
            f"training a language model with {parameter_count(training.model) / 1e6:.2f} M parameters: {len(texts[0])} texts, "
            f"{sum(map(len, texts[0])) / 1e6:.2f} M pieces, about {training.batches_per_epoch} batches an epoch, in {precision} "
            f"on {accelerator}"
        )
        epochs = finished_epochs(last) if over else config.trainer.max_epochs
        with progress(quiet) as bars:
            fit(make_trainer(config, out, epochs, accelerator, precision, bars), training, last)
        return average_language_model(out, 1)


def average_language_model(out: Path, count: int) -> Path:
    """Write the model directory of the run ``out`` from the mean of its ``count`` best checkpoints; returns the directory."""
    config = load_config(LanguageRunConfig, out / "config.yaml")
    checkpoints, tokenizer = best_checkpoints(out / "checkpoints", count), load_tokenizer(out / "tokenizer")
    model = LanguageModel(config.language, tokenizer.size)
    model.load_state_dict(average_weights(checkpoints))
    card = (
        f"# {out.name}\n\nA recurrent language model made by audiorec {__version__}: {parameter_count(model):,} parameters, "
        f"{describe_size(tokenizer, config.tokenizer)}. `audiorec perplexity {out.name} TEXT` measures it, `audiorec decode … "
        f"--rescore {out.name}` and `--fuse {out.name}` use it.\n"
    )
    kept = LanguageModelConfig(**{name: getattr(config, name) for name in LanguageModelConfig.model_fields})
    save_model(out / "model", model, kept, tokenizer, card)
    return out / "model"


def _encoded(path: Path, tokenizer: Tokenizer, config: LanguageRunConfig) -> list[np.ndarray]:
    encoded = [np.array(tokenizer.encode(config.tokenizer.normalize(text)), np.int32) for text in read_texts(path)]
    if not (found := [ids for ids in encoded if len(ids)]):
        raise UserError(f"{path}: holds no text; write one a line")
    return found


def _loader(texts: Texts) -> DataLoader:
    return DataLoader(texts, batch_size=None, generator=torch.Generator())
