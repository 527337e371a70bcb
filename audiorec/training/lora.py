"""``trainer.lora``: low-rank adapters of matrices (Hu et al. 2022), merged into them when a model is saved."""

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn.utils import parametrize

from audiorec.config import Config
from audiorec.training.patterns import named_by

_ADAPTED = nn.Linear, nn.LSTM, nn.GRU, nn.LSTMCell  # modules whose matrices may have adapters
_MARK = ".parametrizations."  # in the names that torch gives an adapter's tensors


class LoraConfig(Config):
    rank: PositiveInt = Field(8, description="of the product that an adapter adds to a matrix")
    alpha: PositiveFloat = Field(16.0, description="alpha / rank scales what an adapter adds")
    modules: list[str] = Field(
        ["encoder"],
        min_length=1,
        description="patterns of what has adapters: the matrices of linear layers and recurrences",
    )


class Adapter(nn.Module):
    """``weight + alpha / rank · B A``: A (rank, inputs) random, B (outputs, rank) zero, so that training begins at ``weight``.

    It stands for the weight itself (torch's parametrisation), so whatever computes with the weight, and however, has it.
    """

    scale: Tensor

    def __init__(self, weight: Tensor, rank: int, alpha: float):
        super().__init__()
        outputs, inputs = weight.shape
        self.a = nn.Parameter(weight.new_empty(rank, inputs))
        self.b = nn.Parameter(weight.new_zeros(outputs, rank))
        self.register_buffer("scale", torch.tensor(alpha / rank))
        nn.init.kaiming_uniform_(self.a, sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):  # as it will be merged
            return adapted(weight, self.a, self.b, self.scale)


def adapted(weight: Tensor, a: Tensor, b: Tensor, scale: Tensor) -> Tensor:
    return weight + scale.to(weight.dtype) * (b @ a)


def add_adapters(model: nn.Module, config: LoraConfig) -> int:
    """Give the matrices that the config names adapters, and exclude the matrices themselves from training; how many numbers
    the adapters hold. Raises ConfigError for a pattern that names no matrix of a linear layer or recurrence."""
    matrices = {
        f"{name}.{own}": (module, own)
        for name, module in model.named_modules()
        if isinstance(module, _ADAPTED)
        for own, weight in module.named_parameters(recurse=False)
        if weight.ndim == 2
    }
    count = 0
    for name in named_by(config.modules, matrices, model, "trainer.lora.modules"):
        module, own = matrices[name]
        weight = getattr(module, own)
        weight.requires_grad_(False)
        adapter = Adapter(weight, config.rank, config.alpha)
        parametrize.register_parametrization(module, own, adapter)
        count += adapter.a.numel() + adapter.b.numel()
    return count


def merged(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a checkpoint under a plain model's names, adapters added to their matrices."""
    plain: dict[str, Any] = {name: value for name, value in weights.items() if _MARK not in name}
    for name, value in weights.items():
        if _MARK in name and name.endswith(".original"):
            stem = name.removesuffix(".original")
            plain[stem.replace(_MARK, ".")] = adapted(
                value, *(weights[f"{stem}.0.{part}"] for part in ("a", "b", "scale"))
            )
    return plain


__all__: Sequence[str] = ["Adapter", "LoraConfig", "add_adapters", "merged"]
