"""How gradients are computed, and what is added to them."""

import torch
from torch import nn

from audiorec.data.draws import seed_of
from audiorec.encoders.stack import Stack
from audiorec.errors import ConfigError
from audiorec.models import AsrModel


def recompute(model: AsrModel) -> None:
    """Let the layers of the encoder keep their inputs alone for the gradient. Raises ConfigError for one without layers."""
    if not isinstance(model.encoder, Stack):
        raise ConfigError("trainer.recompute: this encoder is no Stack of layers; leave it out")
    model.encoder.recompute = True


@torch.no_grad()
def add_noise(model: nn.Module, deviation: float, seed: int, step: int) -> None:
    """Add noise to the gradients of a step: of the given deviation at the first, falling as (1 + step)^-0.275, so its
    variance as (1 + step)^-0.55 (Neelakantan et al. 2015). The same in every process and in a run that goes on."""
    now, draws = deviation / (1 + step) ** 0.275, {}
    for parameter in model.parameters():
        if parameter.grad is None:
            continue
        device = parameter.grad.device
        if device not in draws:
            draws[device] = torch.Generator(device).manual_seed(seed_of(seed, 0, f"gradient noise {step}"))
        noise = torch.empty_like(parameter.grad).normal_(generator=draws[device])
        parameter.grad.add_(noise, alpha=now)
