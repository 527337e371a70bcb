"""``trainer.init_from``: a training that begins with the weights of a trained model."""

from pathlib import Path

import torch

from audiorec.errors import UserError
from audiorec.models import AsrModel, ModelConfig, find_model, load_model
from audiorec.text import Tokenizer


@torch.no_grad()
def begin_from(source: Path, model: AsrModel, config: ModelConfig, tokenizer: Tokenizer) -> list[str]:
    """Give ``model`` every weight and statistic of the model or run directory ``source`` that has its name and its shape;
    returns the names of the layers that begin at random still.

    Heads are taken over only where the ``tokenizer`` is the same: elsewhere their rows mean other pieces. Counters are not,
    so a loss warms up again. Raises UserError where the features are others, or nothing of the encoder fits.
    """
    before, pieces, before_config = load_model(source)
    path = find_model(source)
    if before_config.features != config.features:
        raise UserError(f"{path / 'config.yaml'}: its features are not this recipe's; trainer.init_from needs the same")
    own, given = model.state_dict(), before.state_dict()
    same_pieces = pieces.pieces == tokenizer.pieces
    weights = [name for name, value in own.items() if value.is_floating_point()]
    fitting = [
        name
        for name in weights
        if name in given and given[name].shape == own[name].shape and (same_pieces or not name.startswith("heads."))
    ]
    if not any(name.startswith("encoder.") for name in fitting):
        raise UserError(
            f"{path}: nothing of its encoder fits this recipe's; trainer.init_from needs one of the same kind and size"
        )
    for name in fitting:
        own[name].copy_(given[name])
    return list(dict.fromkeys(name.rpartition(".")[0] for name in weights if name not in fitting))
