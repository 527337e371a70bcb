"""``trainer.freeze``: weights that stay as they are."""

from collections.abc import Collection, Sequence

from torch import nn

from audiorec.errors import ConfigError, UserError
from audiorec.training.patterns import named_by

FREEZE = "trainer.freeze"


def freeze(model: nn.Module, patterns: Sequence[str], at_random: Collection[str] = ()) -> int:
    """Exclude from training what the patterns name; how many numbers that are.

    Raises ConfigError for a pattern that names nothing, UserError where one of the layers ``at_random`` would stay so, or
    where nothing is left to train.
    """
    parameters = dict(model.named_parameters())
    frozen = named_by(patterns, parameters, model, FREEZE)
    for name in frozen:
        if name.rpartition(".")[0] in at_random:
            raise UserError(
                f"{FREEZE}: {name} begins at random, and would stay so: trainer.init_from has none that fits"
            )
        parameters[name].requires_grad_(False)
    return sum(parameters[name].numel() for name in frozen)


def must_train(model: nn.Module) -> None:
    """Raise ConfigError where every weight is frozen."""
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError(
            f"{FREEZE}: names every weight, so nothing is left to train; leave out the heads, or add trainer.lora"
        )


def keep_still(model: nn.Module) -> None:
    """Modules whose weights are all frozen work as in evaluation, as NeMo's ``freeze`` has it: without dropout, and at the first
    of an encoder's contexts."""
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()
