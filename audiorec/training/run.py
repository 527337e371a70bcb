"""``audiorec train`` and ``audiorec average``: a run folder from a recipe and data, and a model from its checkpoints."""

import logging
import shutil
import signal
import warnings
from itertools import islice
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException

from audiorec import __version__
from audiorec.config import dump_yaml, load_config
from audiorec.data.batches import SpeechData
from audiorec.data.targets import tokenizer_texts
from audiorec.errors import ConfigError, UserError
from audiorec.files import write_text
from audiorec.models import AsrModel, heads_text, model_card, parameter_count, save_model
from audiorec.text import Tokenizer, describe_size, load_tokenizer, save_tokenizer, train_tokenizer
from audiorec.training.begin import begin_from
from audiorec.training.callbacks import Reporter, StopAfter
from audiorec.training.checkpoints import (
    LAST,
    AtomicCheckpointIO,
    average_weights,
    best_checkpoints,
    read_checkpoint,
)
from audiorec.training.config import RunConfig, TrainerConfig
from audiorec.training.freeze import freeze, must_train
from audiorec.training.log import logger, logging_to
from audiorec.training.lora import add_adapters
from audiorec.training.module import READ_EVERY, Training
from audiorec.training.precision import Accelerator, Precision, resolve_accelerator, resolve_precision
from audiorec.training.progress import progress

STATISTICS_BATCHES = 8
# Settings that may differ between a run and its continuation.
MAY_CHANGE = {
    "trainer.max_epochs",
    "trainer.max_steps",
    "trainer.init_from_recipe",
    "trainer.accelerator",
    "data.allow_pipes",
    "data.workers",
    "data.cache_gb",
}


def train(
    config: RunConfig | Path | str,
    train_dir: Path | str,
    valid_dir: Path | str,
    out: Path | str,
    tokenizer_dir: Path | str | None = None,
    quiet: bool = False,
) -> Path:
    """Train ``config``, or the recipe file of that path, into the run folder ``out``; returns the model directory in it.

    ``train_dir`` and ``valid_dir`` are Kaldi data directories; ``quiet`` keeps the screen empty, ``out/train.log`` has every
    line. The same call again goes on from the last finished epoch, and ends with the same weights as an uninterrupted run.
    Raises UserError for data that cannot be used, a folder that holds another run, or a loss that is not a number.
    """
    if not isinstance(config, RunConfig):
        config = load_config(RunConfig, config)
    if (recipe := config.trainer.init_from_recipe) and not config.trainer.init_from:
        raise ConfigError(
            f"trainer.init_from: this recipe begins with a trained {recipe}; give the folder of one, "
            "or trainer.init_from_recipe=null to begin at random"
        )
    for key in ("freeze", "lora"):
        if getattr(config.trainer, key) and not config.trainer.init_from:
            raise ConfigError(
                f"trainer.{key}: has no meaning without trainer.init_from: weights at random would stay so"
            )
    train_dir, valid_dir, out = Path(train_dir), Path(valid_dir), Path(out)
    accelerator = resolve_accelerator(config.trainer.accelerator)
    _claim(out, config)
    with logging_to(out, quiet):
        last = out / "checkpoints" / LAST
        over = _is_over(last, config.trainer)
        if over and (out / "model").is_dir():
            logger.info(f"{out}: already trained, {_finished_epochs(last)} epochs")
            return out / "model"
        logger.debug(
            f"audiorec {__version__}, torch {torch.__version__}, lightning {lightning.__version__}, on {accelerator} "
            f"with {torch.get_num_threads()} threads; training data {train_dir}, validation data {valid_dir}"
        )
        tokenizer = _tokenizer(config, train_dir, out, tokenizer_dir and Path(tokenizer_dir))
        training = _training(config, train_dir, valid_dir, tokenizer)
        precision = resolve_precision(config.trainer.precision, accelerator)
        logger.info(
            f"training {config.encoder.kind} with {parameter_count(training.model) / 1e6:.2f} M parameters on {train_dir}: "
            f"{len(training.train_data.utterances)} utterances, about {training.batches_per_epoch} batches an epoch, "
            f"in {precision} on {accelerator}"
        )
        _choose_what_trains(training, _set_initial_weights(training, last))
        epochs = _finished_epochs(last) if over else config.trainer.max_epochs
        with progress(quiet) as bars:
            _fit(_trainer(config, out, epochs, accelerator, precision, bars), training, last)
        return average(out, 1, data=(train_dir, valid_dir))


def average(out: Path | str, count: int, data: tuple[Path, Path] | None = None) -> Path:
    """Write the model directory of the run ``out`` from the mean of its ``count`` best checkpoints; returns the directory.

    ``data``, the data directories of training and validation, goes into the model card. Raises UserError, and leaves the
    model directory as it was, where there are fewer checkpoints or weights that are not finite.
    """
    out = Path(out)
    config = load_config(RunConfig, out / "config.yaml")
    checkpoints = best_checkpoints(out / "checkpoints")[:count]
    if len(checkpoints) < count:
        raise UserError(f"{out / 'checkpoints'}: holds {len(checkpoints)} checkpoints, {count} were asked for")
    tokenizer = load_tokenizer(out / "tokenizer")
    model = AsrModel(config, tokenizer.size)
    model.load_state_dict(average_weights(checkpoints))
    heads = heads_text(config)
    lead = (
        f"A streaming speech recogniser made by audiorec {__version__}: encoder {config.encoder.kind}, heads {heads}."
    )
    rows = {"trained on": f"{data[0]}, validated on {data[1]}"} if data else {}
    rows["checkpoints averaged"] = ", ".join(path.stem for path in checkpoints)
    card = model_card(out.name, lead, model, config, rows)
    save_model(out / "model", model, config.model_config_only(), tokenizer, card)
    return out / "model"


def _claim(out: Path, config: RunConfig) -> None:
    """Write the run folder's configuration. Raises ConfigError where an epoch with another one is finished there."""
    path, begun = out / "config.yaml", (out / "checkpoints" / LAST).exists()
    if path.exists():
        before, now = _flat(load_config(RunConfig, path).model_dump(mode="json")), _flat(config.model_dump(mode="json"))
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


def _flat(tree: dict, prefix: str = "") -> dict:
    flat = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _finished_epochs(checkpoint: Path) -> int:
    return read_checkpoint(checkpoint)["epoch"] + 1 if checkpoint.exists() else 0


def _is_over(last: Path, options: TrainerConfig) -> bool:
    """Whether the run has all its epochs or steps, or was stopped early."""
    if not last.exists():
        return False
    checkpoint = read_checkpoint(last)
    stopped_early = any(state.get("stopped_epoch") for state in checkpoint["callbacks"].values())
    all_steps = options.max_steps is not None and checkpoint["global_step"] >= options.max_steps
    return stopped_early or all_steps or checkpoint["epoch"] + 1 >= options.max_epochs


def _tokenizer(config: RunConfig, train_dir: Path, out: Path, source: Path | None) -> Tokenizer:
    """The run's tokenizer: kept in the run, or copied from ``source``, or trained on the training texts."""
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
        taught = tokenizer_texts(train_dir, config.tasks, config.allows_empty_text, config.data.allow_pipes)
        tokenizer = train_tokenizer(config.tokenizer, taught)
        logger.info(f"tokenizer: {describe_size(tokenizer, config.tokenizer)}")
    save_tokenizer(home, tokenizer, config.tokenizer)
    return tokenizer


def _training(config: RunConfig, train_dir: Path, valid_dir: Path, tokenizer: Tokenizer) -> Training:
    torch.manual_seed(config.trainer.seed)
    model = AsrModel(config, tokenizer.size)
    train_data, valid_data = (
        SpeechData(
            folder,
            config.features.sample_rate,
            tokenizer,
            config.tokenizer.normalize,
            config.data,
            allow_empty_text=config.allows_empty_text,
            tasks=config.tasks,
            stride=model.stride,
        )
        for folder in (train_dir, valid_dir)
    )
    return Training(model, tokenizer, config, train_data, valid_data)


def _set_initial_weights(training: Training, last: Path) -> list[str]:
    """Those of ``trainer.init_from``, or random ones and the features' statistics; a checkpoint brings its own.

    Returns the layers that begin at random beside those of ``init_from``.
    """
    config = training.config
    if last.exists():
        logger.info(f"going on after epoch {_finished_epochs(last)} of {config.trainer.max_epochs}")
    elif source := config.trainer.init_from:
        random_layers = begin_from(source, training.model, config, training.tokenizer)
        logger.info(f"beginning with {source}; at random: {', '.join(random_layers) or 'nothing'}")
        return random_layers
    else:
        _set_statistics(training)
    return []


def _choose_what_trains(training: Training, at_random: list[str]) -> None:
    """Freeze weights and add adapters, as ``trainer.freeze`` and ``trainer.lora`` say."""
    model, options = training.model, training.config.trainer
    total = parameter_count(model)
    frozen = freeze(model, options.freeze, at_random)
    adapters = add_adapters(model, options.lora) if options.lora else 0
    must_train(model)
    training.train()
    if frozen or adapters:
        trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
        of_adapters = f", {adapters / 1e6:.2f} M of them adapters'" if adapters else ""
        logger.info(
            f"training {trained / 1e6:.2f} M numbers{of_adapters}; of the model's {total / 1e6:.2f} M, "
            f"{frozen / 1e6:.2f} M are frozen"
        )


@torch.no_grad()
def _set_statistics(training: Training) -> None:
    """Mean and deviation of the features over the first training batches, augmented as in training."""
    features, config = training.model.features, training.config
    total = square = count = 0
    batches = training.train_data.training(config.augment, config.trainer.seed, 0)
    for batch in islice(batches, STATISTICS_BATCHES):
        x, lengths = features(batch.samples[..., None], batch.lengths)
        rows = torch.cat([row[:n] for row, n in zip(x, lengths.tolist(), strict=True)]).double()
        total, square, count = total + rows.sum(0), square + rows.square().sum(0), count + len(rows)
    mean = total / count
    features.set_statistics(mean, (square / count - mean.square()).clamp(min=0).sqrt())


def _fit(trainer: lightning.Trainer, training: Training, last: Path) -> None:
    """Train, from the checkpoint ``last`` where it exists."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers")  # one core trains as one prepares
        warnings.filterwarnings("ignore", message=".*exists and is not empty")  # a run that goes on
        warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")
        warnings.filterwarnings("ignore", message=".*in eval mode at the start of training")  # those that are frozen
        warnings.filterwarnings("ignore", message=".*number of training batches.*smaller than the logging interval")
        try:
            trainer.fit(training, ckpt_path=last if last.exists() else None)
        except SIGTERMException:  # its own status is 0, and a recipe would go on to decode
            raise SystemExit(128 + signal.SIGTERM) from None
    if trainer.interrupted:
        raise KeyboardInterrupt


def _trainer(
    config: RunConfig, out: Path, max_epochs: int, accelerator: Accelerator, precision: Precision, bars: list[Callback]
) -> lightning.Trainer:
    options = config.trainer
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch.accelerators.cuda", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    checkpoints = ModelCheckpoint(
        dirpath=out / "checkpoints",
        filename="epoch={epoch:03d}-" + options.monitor + "={" + options.monitor + ":.5f}",
        auto_insert_metric_name=False,
        monitor=options.monitor,
        save_top_k=options.keep_best,
        save_last=True,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    reporter = Reporter(out, _flat(config.model_dump(mode="json")))
    callbacks = [*bars, reporter, checkpoints]  # the reporter first: its history goes into the checkpoint
    if options.patience:
        callbacks.append(EarlyStopping(options.monitor, patience=options.patience, check_on_train_epoch_end=True))
    if options.max_steps:
        callbacks.append(StopAfter(options.max_steps))
    return lightning.Trainer(
        accelerator=accelerator,
        devices=1,
        precision={"fp32": "32-true", "bf16": "bf16-mixed"}[precision],
        max_epochs=max_epochs,
        gradient_clip_val=options.gradient_clip,
        callbacks=callbacks,
        logger=TensorBoardLogger(out, name=None, version="tensorboard"),
        plugins=[AtomicCheckpointIO()],
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        log_every_n_steps=READ_EVERY,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
