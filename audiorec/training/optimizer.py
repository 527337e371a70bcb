"""The optimiser and its groups of parameters: matrices decay, and layers learn the slower the further down they lie."""

from typing import Any

import torch
from torch import nn

from audiorec.encoders.stack import Stack
from audiorec.errors import ConfigError
from audiorec.training.config import OptimizerConfig
from audiorec.training.scaled_adam import ScaledAdam


def optimizer(model: nn.Module, options: OptimizerConfig) -> torch.optim.Optimizer:
    """AdamW or ScaledAdam, over ``parameter_groups``."""
    kind = {"adamw": torch.optim.AdamW, "scaled_adam": ScaledAdam}[options.kind]
    return kind(parameter_groups(model, options), lr=options.lr, betas=options.betas)


def parameter_groups(model: nn.Module, options: OptimizerConfig) -> list[dict[str, Any]]:
    """Groups with ``weight_decay`` and ``scale``, what the learning rate is multiplied by: of what is not frozen.

    With ``layer_decay`` d an encoder's last layer has d, the one before d², …, its convolutions the least; its norm, a prompt
    and the heads have 1 (as BEiT has it, Bao et al. 2022). Raises ConfigError where an encoder has no layers by name.
    """
    scales = _scales(model, options.layer_decay)
    groups: dict[tuple[float, bool], dict[str, Any]] = {}
    for scale in sorted(set(scales.values()) | {1.0}, reverse=True):
        for decays in (True, False):
            decay = options.weight_decay if decays else 0.0
            groups[scale, decays] = {"params": [], "weight_decay": decay, "scale": scale}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            # Matrices decay, but for those that a module marks as no weights at all, such as Mamba's A.
            decays = parameter.ndim > 1 and not getattr(parameter, "_no_weight_decay", False)
            groups[scales.get(".".join(name.split(".")[:2]), 1.0), decays]["params"].append(parameter)
    return list(groups.values())


def _scales(model: nn.Module, layer_decay: float) -> dict[str, float]:
    """``encoder.layer0`` → what its learning rate is multiplied by."""
    if layer_decay == 1:
        return {}
    if not isinstance(getattr(model, "encoder", None), Stack):
        raise ConfigError("optimizer.layer_decay: this encoder is no Stack of named layers; leave it out")
    below = ["subsampling", *model.encoder.layer_names]
    return {f"encoder.{name}": layer_decay ** (len(below) - i) for i, name in enumerate(below)}
