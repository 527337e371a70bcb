"""A model on disk: ``config.yaml``, ``model.safetensors``, the tokeniser and a model card. Loading runs no code from it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from audiorec.config import Config, dump_yaml, parse, read_yaml
from audiorec.errors import UserError
from audiorec.files import replacing_folder, write_text
from audiorec.models.asr import AsrModel
from audiorec.models.config import FORMAT, ModelConfig
from audiorec.models.heads import CtcHead
from audiorec.models.names import todays_names
from audiorec.search.priors import PRIORS, load_priors
from audiorec.text import Tokenizer, load_tokenizer

WEIGHTS = "model.safetensors"
OTHERS = {"encoder": "a recogniser", "language": "a language model"}  # by a part that only this one's config has
C = TypeVar("C", bound=Config)
M = TypeVar("M", bound=nn.Module)


def save_model(folder: Path | str, model: nn.Module, config: Config, tokenizer: Tokenizer, card: str) -> None:
    """Write a model directory, whole or not at all, in place of an older one."""
    with replacing_folder(folder) as aside:
        write_text(aside / "config.yaml", dump_yaml(config))
        write_text(aside / "README.md", card)
        tokenizer.save(aside)
        save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, aside / WEIGHTS)
        shutil.copymode(aside / "config.yaml", aside / WEIGHTS)  # safetensors writes files that only their owner reads


def find_model(path: Path | str) -> Path:
    """The model directory at ``path``, which may also be a run directory that holds one as ``model/``."""
    path = Path(path)
    for folder in (path / "model", path):
        if (folder / "config.yaml").is_file() and ((folder / WEIGHTS).exists() or folder.name == "model"):
            return folder
    if not path.is_dir():
        raise UserError(f"{path}: no such model directory")
    if (path / "export.yaml").is_file():
        raise UserError(f"{path}: an export, not a model; give the model directory that it was made of")
    if (path / "checkpoints").is_dir():
        raise UserError(f"{path}: a run without a model yet; finish `audiorec train`, or run `audiorec average {path}`")
    missing = "config.yaml" if not (path / "config.yaml").is_file() else WEIGHTS
    raise UserError(f"{path / missing}: missing{_foreign_weights(path)}; a model directory needs it")


def load_model(path: Path | str) -> tuple[AsrModel, Tokenizer, ModelConfig]:
    """The model of a model or run directory, in evaluation mode, with its tokeniser and configuration.

    Raises UserError naming the file that is missing, damaged, foreign or of an unknown format.
    """
    model, tokenizer, config = read_model(path, ModelConfig, AsrModel)
    folder = find_model(path)
    for name, priors in load_priors(folder, tokenizer.size).items():
        if name not in model.heads or not isinstance(head := model.heads[name], CtcHead):
            raise UserError(f"{folder / PRIORS}: {name} is no CTC head of this model; remove the file, or measure anew")
        head.priors = torch.from_numpy(priors)
    return model, tokenizer, config


def is_language(config: Path) -> bool:
    """Whether this recipe, or ``config.yaml``, is a language model's."""
    content = read_yaml(config)
    return isinstance(content, dict) and "language" in content


def read_model(
    path: Path | str, schema: type[C], build: Callable[[C, int], M], part: str = "encoder"
) -> tuple[M, Tokenizer, C]:
    """A model of its config and the size of its vocabulary, from a model or run directory whose config has this ``part``."""
    folder = find_model(path)
    content = read_yaml(folder / "config.yaml")
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        other = content.get("format") if isinstance(content, dict) else None
        raise UserError(f"{folder / 'config.yaml'}: format {other!r} is not known; this version reads format {FORMAT}")
    if part not in content and (content.keys() & OTHERS.keys()):
        names = [OTHERS[name] for name in (part, *content) if name in OTHERS]
        raise UserError(f"{folder}: needs to be {names[0]}, and is {names[1]}")
    config = parse(schema, content, source=str(folder / "config.yaml"))
    tokenizer = load_tokenizer(folder)
    model = build(config, tokenizer.size)
    weights = todays_names(_read_weights(folder / WEIGHTS))
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    for name in sorted(expected.keys() | shapes.keys()):
        if expected.get(name) != shapes.get(name):
            raise UserError(
                f"{folder / WEIGHTS}: {name} is {shapes.get(name, 'missing')}, config.yaml and the tokenizer make it "
                f"{expected.get(name, 'nothing')}; the files are not of one model"
            )
    model.load_state_dict(weights)
    return model.eval(), tokenizer, config


def _read_weights(path: Path) -> dict:
    if not path.is_file():
        raise UserError(f"{path}: missing{_foreign_weights(path.parent)}; a model directory needs it")
    with path.open("rb") as file:
        magic = file.read(2)
    if magic in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        raise UserError(f"{path}: this is a pickle, refused unread: it could run code; write it with safetensors")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path}: damaged or not safetensors ({error}); write the model again") from None


def _foreign_weights(folder: Path) -> str:
    """A hint for a folder whose weights have a format that is not read."""
    foreign = sorted(p.name for p in folder.glob("*") if p.suffix in (".bin", ".pt", ".pth", ".ckpt", ".pkl"))
    return f" ({', '.join(foreign)} is not read: a pickle could run code)" if foreign else ""
