"""A ``.nemo`` file: a tar, plain or gzip, of a config, weights and tokenizer files. Nothing in it is run."""

import pickle
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

import torch
import yaml
from torch import Tensor

from audiorec.errors import UserError

CONFIG, WEIGHTS = "model_config.yaml", "model_weights.ckpt"
_DAMAGED = tarfile.TarError, EOFError, zlib.error, OSError


class Archive:
    """``config``, ``weights`` (name → tensor) and ``files`` (name → content of all others) of a ``.nemo`` file.

    Raises UserError naming what is wrong: no such archive, one cut short, a path that leads out of its folder, a pickle that is
    more than tensors.
    """

    def __init__(self, path: Path):
        self.path = path
        if not path.is_file():
            raise UserError(f"{path}: no such file")
        self.files: dict[str, bytes] = {}
        with tempfile.TemporaryFile() as checkpoint:
            found = self._read(checkpoint)
            for name in (CONFIG, WEIGHTS):
                if name not in found:
                    raise UserError(f"{path}: holds no {name}: no .nemo file, or one cut short; fetch it again")
            self.weights = load_weights(checkpoint, f"{path}: {WEIGHTS}")
        self.config = self._config()

    def _read(self, checkpoint: Any) -> set[str]:
        """The names of all members; small ones are read to ``files``, the weights to the file ``checkpoint``."""
        found = set()
        try:
            with tarfile.open(self.path) as tar:
                for member in tar:
                    parts = PurePosixPath(member.name).parts
                    if member.name.startswith("/") or ".." in parts or not (member.isfile() or member.isdir()):
                        raise UserError(
                            f"{self.path}: {member.name} leads out of the archive's folder; such a file is not read"
                        )
                    if not member.isfile():
                        continue
                    name = "/".join(parts)
                    found.add(name)
                    content = tar.extractfile(member)
                    assert content is not None
                    if name == WEIGHTS:
                        shutil.copyfileobj(content, checkpoint, 1 << 20)
                        if checkpoint.tell() != member.size:
                            raise EOFError("unexpected end of data")
                        checkpoint.seek(0)
                    else:
                        self.files[name] = content.read()
        except _DAMAGED as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{self.path}: no .nemo file, or one cut short ({reason}); fetch it again") from None
        return found

    def _config(self) -> dict[str, Any]:
        try:
            config = yaml.safe_load(self.files[CONFIG])
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError(f"{self.path}: {CONFIG}: not YAML: {' '.join(str(error).split())}") from None
        if not isinstance(config, dict):
            raise UserError(f"{self.path}: {CONFIG}: must hold a mapping of keys")
        return config

    def file(self, reference: Any, what: str) -> bytes:
        """The content of the file that the config names, as ``nemo:NAME`` or ``NAME``. Raises UserError where it is missing."""
        name = str(reference or "").removeprefix("nemo:")
        if name not in self.files:
            raise UserError(f"{self.path}: {what} {name or 'of no name'} is missing in it, so tokens have no text")
        return self.files[name]


def load_weights(file: Any, source: str, key: str | None = None) -> dict[str, Tensor]:
    """Name → tensor of a checkpoint of torch.save, or of its entry ``key`` where it has one. None of its code runs.

    Raises UserError where there is more than tensors.
    """
    try:
        weights = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        asked = str(error).split("\n")[0].rstrip(".")
        raise UserError(
            f"{source}: refused: it is a pickle of more than tensors, which could run code ({asked[:160]})"
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise UserError(f"{source}: damaged ({' '.join(str(error).split())[:160]}); fetch it again") from None
    if isinstance(weights, dict) and isinstance(weights.get(key), dict):
        weights = weights[key]
    if not isinstance(weights, dict) or not all(isinstance(tensor, Tensor) for tensor in weights.values()):
        raise UserError(f"{source}: must map names to tensors")
    return weights
