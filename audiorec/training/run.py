"""``audiorec train`` and ``audiorec average``: a run folder from a recipe and data, and a model from its checkpoints."""

from itertools import islice
from pathlib import Path

import lightning
import torch

from audiorec import __version__
from audiorec.config import load_config
from audiorec.data.batches import SpeechData
from audiorec.data.targets import tokenizer_texts
from audiorec.errors import ConfigError
from audiorec.models import AsrModel, heads_text, model_card, parameter_count, save_model
from audiorec.text import Tokenizer, load_tokenizer
from audiorec.training.begin import begin_from
from audiorec.training.checkpoints import LAST, average_weights, best_checkpoints, epochs_done, read_checkpoint
from audiorec.training.config import RunConfig
from audiorec.training.freeze import freeze, must_train
from audiorec.training.grow import Grow
from audiorec.training.log import logger, logging_to
from audiorec.training.loop import claim, find_tokenizer, finished_epochs, fit, is_over, make_trainer
from audiorec.training.lora import add_adapters
from audiorec.training.module import Training
from audiorec.training.precision import Accelerator, resolve_accelerator, resolve_precision, spare_workers
from audiorec.training.progress import progress
from audiorec.training.ranks import writes

STATISTICS_BATCHES = 8


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
    line. The same call again goes on from the last checkpoint, and ends with the same weights as an uninterrupted run. Where
    ``trainer.devices`` and ``trainer.nodes`` say so several processes train, each on its share of every step's batches.
    Raises UserError for data that cannot be used, a folder that holds another run, or a loss that is not a number.
    """
    if not isinstance(config, RunConfig):
        config = load_config(RunConfig, config)
    for key, use, without in (
        ("init_from", "begins with", "to begin at random"),
        ("aligner", "learns the paths of", "to learn its own best paths"),
    ):
        if (recipe := getattr(config.trainer, f"{key}_recipe")) and not getattr(config.trainer, key):
            raise ConfigError(
                f"trainer.{key}: this recipe {use} a trained {recipe}; give the folder of one, "
                f"or trainer.{key}_recipe=null {without}"
            )
    for key in ("freeze", "lora"):
        if getattr(config.trainer, key) and not config.trainer.init_from:
            raise ConfigError(
                f"trainer.{key}: has no meaning without trainer.init_from: weights at random would stay so"
            )
    train_dir, valid_dir, out = Path(train_dir), Path(valid_dir), Path(out)
    accelerator = resolve_accelerator(config.trainer.accelerator)
    with claim(out, config), logging_to(out, quiet):
        last = out / "checkpoints" / LAST
        over = is_over(last, config.trainer)
        if over and (out / "model").is_dir():
            logger.info(f"{out}: already trained, {finished_epochs(last)} epochs")
            return out / "model"
        logger.debug(
            f"audiorec {__version__}, torch {torch.__version__}, lightning {lightning.__version__}, on {accelerator} "
            f"with {torch.get_num_threads()} threads; training data {train_dir}, validation data {valid_dir}"
        )
        tokenizer = find_tokenizer(
            config, out, tokenizer_dir and Path(tokenizer_dir), lambda: _texts(config, train_dir)
        )
        training = _training(config, train_dir, valid_dir, tokenizer, accelerator)
        precision = resolve_precision(config.trainer.precision, accelerator)
        logger.info(
            f"training {config.encoder.kind} with {parameter_count(training.model) / 1e6:.2f} M parameters on {train_dir}: "
            f"{len(training.train_data.utterances)} utterances, about {training.batches_per_epoch} batches an epoch, "
            f"in {precision} on {accelerator}"
            + (
                f", batches by {workers} more process{'es' * (workers > 1)}"
                if (workers := training.train_data.workers)
                else ""
            )
        )
        growth = [Grow(training)] if config.trainer.grow else []
        _choose_what_trains(training, _set_initial_weights(training, last))
        epochs = finished_epochs(last) if over else config.trainer.max_epochs
        with progress(quiet or not writes()) as bars:
            fit(make_trainer(config, out, epochs, accelerator, precision, [*bars, *growth]), training, last)
        return average(out, 1, data=(train_dir, valid_dir)) if writes() else out / "model"


def average(out: Path | str, count: int, data: tuple[Path, Path] | None = None) -> Path:
    """Write the model directory of the run ``out`` from the mean of its ``count`` best checkpoints; returns the directory.

    ``data``, the data directories of training and validation, goes into the model card. Raises UserError, and leaves the
    model directory as it was, where there are fewer checkpoints or weights that are not finite.
    """
    out = Path(out)
    config = load_config(RunConfig, out / "config.yaml")
    checkpoints = best_checkpoints(out / "checkpoints", count)
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


def _texts(config: RunConfig, train_dir: Path) -> list[str]:
    return tokenizer_texts(train_dir, config.tasks, config.allows_empty_text, config.data.allow_pipes)


def _training(
    config: RunConfig, train_dir: Path, valid_dir: Path, tokenizer: Tokenizer, accelerator: Accelerator
) -> Training:
    torch.manual_seed(config.trainer.seed)
    model = AsrModel(config, tokenizer.size)
    workers = config.data.workers
    if workers is None:
        workers = spare_workers(accelerator, config.trainer.devices)
    train_data, valid_data = (
        SpeechData(
            folder,
            config.features.sample_rate,
            tokenizer,
            config.tokenizer.normalize,
            config.data.model_copy(update={"workers": workers}),
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
        checkpoint = read_checkpoint(last)
        done = epochs_done(checkpoint)
        step = f", step {checkpoint['global_step']}" if checkpoint["epoch"] == done else ""
        logger.info(f"going on after epoch {done} of {config.trainer.max_epochs}{step}")
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
