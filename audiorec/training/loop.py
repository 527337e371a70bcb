"""What every training shares, of recognisers as of language models: the run folder's claim, Lightning's trainer, checkpoints."""

import logging
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
from filelock import FileLock, Timeout
from lightning.pytorch.callbacks import Callback, EarlyStopping, EMAWeightAveraging
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException

from audiorec.config import Config, dump_yaml, load_config
from audiorec.errors import ConfigError, UserError
from audiorec.files import write_text
from audiorec.text import Tokenizer, describe_size, load_tokenizer, save_tokenizer, train_tokenizer
from audiorec.training.callbacks import Reporter, StopAfter
from audiorec.training.checkpoints import LAST, AtomicCheckpointIO, Checkpoints, epochs_done, read_checkpoint
from audiorec.training.config import TrainerConfig
from audiorec.training.log import logger
from audiorec.training.precision import Accelerator, Precision
from audiorec.training.ranks import wait_for, writes
from audiorec.training.tally import READ_EVERY

# Settings that may differ between a run and its continuation.
MAY_CHANGE = {
    "trainer.max_epochs",
    "trainer.max_steps",
    "trainer.init_from_recipe",
    "trainer.aligner_recipe",
    "trainer.accelerator",
    "trainer.checkpoint_steps",
    "data.allow_pipes",
    "data.workers",
    "data.cache_gb",
}


@contextmanager
def claim(out: Path, config: Config) -> Iterator[None]:
    """Write the run folder's configuration, and keep other trainings out of it while this lasts.

    Of several processes the first does, and the others wait for it and a tokenizer. Raises ConfigError where a checkpoint of
    another configuration lies there, UserError where another training is at work.
    """
    if not writes():
        wait_for(lambda: _is_claimed(out, config), f"{out} with its tokenizer")
        yield
        return
    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / ".lock").acquire(timeout=0):
            _write_config(out, config)
            yield
    except Timeout:
        raise UserError(
            f"{out}: another training is at work in this folder; wait for it, or choose another --out"
        ) from None


def _write_config(out: Path, config: Config) -> None:
    path, begun = out / "config.yaml", (out / "checkpoints" / LAST).exists()
    if path.exists():
        before, now = (
            _flat(load_config(type(config), path).model_dump(mode="json")),
            _flat(config.model_dump(mode="json")),
        )
        changed = [key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)]
        if begun and (refused := [key for key in changed if key not in MAY_CHANGE]):
            key = refused[0]
            raise ConfigError(
                f"{path}: this run was begun with {key}={before.get(key)}, now it is {now.get(key)}; "
                "choose another --out, or remove the folder to begin anew"
            )
        if not changed:
            return
    if not begun:  # the tokenizer of an attempt with other settings
        shutil.rmtree(out / "tokenizer", ignore_errors=True)
    write_text(path, dump_yaml(config))


def _is_claimed(out: Path, config: Config) -> bool:
    path = out / "config.yaml"
    return path.exists() and path.read_text() == dump_yaml(config) and (out / "tokenizer").is_dir()


def _flat(tree: dict, prefix: str = "") -> dict:
    flat = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def finished_epochs(checkpoint: Path) -> int:
    """Of a run's last checkpoint, 0 where there is none."""
    return epochs_done(read_checkpoint(checkpoint)) if checkpoint.exists() else 0


def is_over(last: Path, options: TrainerConfig) -> bool:
    """Whether the run has all its epochs or steps, or was stopped early."""
    if not last.exists():
        return False
    checkpoint = read_checkpoint(last)
    stopped_early = any(state.get("stopped_epoch") for state in checkpoint["callbacks"].values())
    all_steps = options.max_steps is not None and checkpoint["global_step"] >= options.max_steps
    return stopped_early or all_steps or epochs_done(checkpoint) >= options.max_epochs


def find_tokenizer(config: Any, out: Path, source: Path | None, texts: Callable[[], list[str]]) -> Tokenizer:
    """The run's tokenizer: kept in the run, or copied from ``source``, or trained on the training's ``texts``."""
    home = out / "tokenizer"
    if home.is_dir():
        tokenizer = load_tokenizer(home, config.tokenizer)
        if source and load_tokenizer(source, config.tokenizer).pieces != tokenizer.pieces:
            raise ConfigError(
                f"{source}: its pieces are not those of {home}, which this run was begun with; "
                "choose another --out, or remove the folder to begin anew"
            )
        return tokenizer
    if source:
        tokenizer = load_tokenizer(source, config.tokenizer)
    else:
        tokenizer = train_tokenizer(config.tokenizer, texts())
        logger.info(f"tokenizer: {describe_size(tokenizer, config.tokenizer)}")
    save_tokenizer(home, tokenizer, config.tokenizer)
    return tokenizer


def fit(trainer: lightning.Trainer, training: lightning.LightningModule, last: Path) -> None:
    """Train, from the checkpoint ``last`` where it exists."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers")  # one core trains as one prepares
        warnings.filterwarnings("ignore", message=".*exists and is not empty")  # a run that goes on
        warnings.filterwarnings("ignore", message=".*your dataloader is not resumable")  # it begins where it is told to
        warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")
        warnings.filterwarnings("ignore", message=".*in eval mode at the start of training")  # those that are frozen
        warnings.filterwarnings("ignore", message=".*number of training batches.*smaller than the logging interval")
        try:
            trainer.fit(training, ckpt_path=last if last.exists() else None)
        except SIGTERMException:  # its own status is 0, and a recipe would go on to decode
            goes_on = f"goes on from {last}" if last.exists() else "begins anew, for no epoch was saved yet"
            logger.info(f"ended by SIGTERM; the same command {goes_on}")
            raise SystemExit(128 + signal.SIGTERM) from None
    if trainer.interrupted:
        raise KeyboardInterrupt


def _loggers(options: TrainerConfig, out: Path) -> list[Logger]:
    """TensorBoard's, and that of Weights & Biases where a project is named. Raises UserError where it is not installed."""
    loggers: list[Logger] = [TensorBoardLogger(out, name=None, version="tensorboard")]
    if options.wandb:
        try:
            loggers.append(WandbLogger(project=options.wandb, name=out.name, save_dir=out))
        except ModuleNotFoundError:
            raise UserError("trainer.wandb: wandb is not installed: `pip install wandb`, or leave it out") from None
    return loggers


def make_trainer(
    config: Any, out: Path, max_epochs: int, accelerator: Accelerator, precision: Precision, more: list[Callback]
) -> lightning.Trainer:
    """Lightning's trainer of a run: its checkpoints, what it reports, and ``more`` callbacks."""
    options = config.trainer
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch.accelerators.cuda", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    checkpoints = Checkpoints(
        dirpath=out / "checkpoints",
        filename="epoch={epoch:03d}-" + options.monitor + "={" + options.monitor + ":.5f}",
        auto_insert_metric_name=False,
        monitor=options.monitor,
        save_top_k=options.keep_best,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    reporter = Reporter(out, _flat(config.model_dump(mode="json")))
    callbacks = [*more, reporter, checkpoints]  # the reporter first: its history goes into the checkpoint
    if options.ema:
        callbacks.append(EMAWeightAveraging(decay=options.ema))
    if options.patience:
        callbacks.append(EarlyStopping(options.monitor, patience=options.patience, check_on_train_epoch_end=True))
    if options.max_steps:
        callbacks.append(StopAfter(options.max_steps))
    return lightning.Trainer(
        accelerator=accelerator,
        devices=options.devices,
        num_nodes=options.nodes,
        # Processes wait for every weight's gradient unless told that layers may have none.
        strategy="ddp_find_unused_parameters_true" if options.grow and options.devices * options.nodes > 1 else "auto",
        accumulate_grad_batches=options.accumulate,
        precision={"fp32": "32-true", "bf16": "bf16-mixed"}[precision],
        max_epochs=max_epochs,
        gradient_clip_val=options.gradient_clip,
        callbacks=callbacks,
        logger=_loggers(options, out),
        plugins=[AtomicCheckpointIO()],
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        log_every_n_steps=READ_EVERY,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
