"""The recorded models of NeMo's own classes, and copies of them with something changed."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import yaml

GOLDEN = Path(__file__).parent.parent / "golden" / "nemo"
CONTEXTS = {"hybrid": [(70, 13), (70, 6), (70, 1), (70, 0)], "ctc": [(70, 13)]}
CASES = [(name, *context) for name, contexts in CONTEXTS.items() for context in contexts]


def speech() -> torch.Tensor:
    """(1, N): the samples that NeMo was given."""
    return torch.from_numpy(np.load(GOLDEN / "speech.npz")["samples"]).float()[None] / 32768


def recorded(name: str) -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN / f"{name}.npz"))


def some(x: np.ndarray, step: int) -> np.ndarray:
    """The frames that were recorded."""
    return np.concatenate([x[:-3:step], x[-3:]])


def members(name: str = "hybrid") -> dict[str, bytes]:
    with tarfile.open(GOLDEN / f"{name}.nemo") as tar:
        return {m.name.removeprefix("./"): tar.extractfile(m).read() for m in tar if m.isfile()}


def write(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def changed(
    path: Path, config: Callable[[dict], None] | None = None, name: str = "hybrid", **files: bytes | None
) -> Path:
    """A copy of a recorded model with its config changed, and files of other content or, None, left out."""
    content = members(name)
    if config:
        settings = yaml.safe_load(content["model_config.yaml"])
        config(settings)
        content["model_config.yaml"] = yaml.safe_dump(settings).encode()
    content |= {key: value for key, value in files.items() if value is not None}
    return write(path, {key: value for key, value in content.items() if files.get(key, b"") is not None})


def weights_of(name: str = "hybrid") -> dict[str, torch.Tensor]:
    return torch.load(io.BytesIO(members(name)["model_weights.ckpt"]), weights_only=True)


def saved(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()
