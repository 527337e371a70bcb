"""Checkpoints: written whole or not at all, read without running code, averaged."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from audiorec.errors import UserError
from audiorec.files import replacing
from audiorec.training.lora import merged

LAST = "last.ckpt"


class Checkpoints(ModelCheckpoint):
    """The best checkpoints, and ``LAST`` after every epoch: Lightning's own ``save_last`` waits for one among the best."""

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        super().on_train_epoch_end(trainer, module)
        trainer.save_checkpoint(Path(self.dirpath) / LAST, weights_only=False)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the old checkpoint and renames: a full disk or a kill leaves the old one as it was.

    Reads tensors and plain values only, whatever Lightning asks for: that differs from version to version.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with replacing(path) as aside, aside.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
        except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
            raise UserError(
                f"{path}: the checkpoint cannot be written ({_first_line(error)}); the one before it is kept: "
                "make room and run the same command again"
            ) from error

    def load_checkpoint(self, path: Any, *_: Any, **__: Any) -> dict[str, Any]:
        return read_checkpoint(Path(path))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content; tensors and plain values only, no code is run."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such checkpoint") from None
    except Exception as error:
        raise UserError(f"{path}: not a checkpoint of `audiorec train`, or damaged ({_first_line(error)})") from error


def epochs_done(checkpoint: dict[str, Any]) -> int:
    """The epochs that a checkpoint has behind it; one saved within an epoch does not count that."""
    within = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    return checkpoint["epoch"] + bool(within["is_last_batch"])


def model_weights(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """The model's own weights out of a training checkpoint, with adapters merged into them."""
    prefix = "model."
    return merged({k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)})


def average_weights(paths: Sequence[Path]) -> dict[str, Tensor]:
    """The mean of the models' weights, summed in float64. Raises UserError for weights that are not finite."""
    total: dict[str, Tensor] = {}
    dtypes: dict[str, torch.dtype] = {}
    for path in paths:
        for name, tensor in model_weights(read_checkpoint(path)).items():
            if not torch.isfinite(tensor).all():
                raise UserError(f"{path}: {name} is not finite: remove this checkpoint, or train again")
            total[name] = total.get(name, 0) + tensor.double()
            dtypes[name] = tensor.dtype
    return {name: (tensor / len(paths)).to(dtypes[name]) for name, tensor in total.items()}


def best_checkpoints(folder: Path, count: int | None = None) -> list[Path]:
    """The best ``count`` checkpoints of a run, or all, best first; their names carry the value that ranks them.

    Raises UserError where there are fewer.
    """
    found = sorted(
        folder.glob("epoch*.ckpt"), key=lambda path: (float(path.stem.rsplit("=", 1)[1].split("-v")[0]), path.stem)
    )
    if count and len(found) < count:
        raise UserError(f"{folder}: holds {len(found)} checkpoints, {count} were asked for")
    return found[:count]


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
