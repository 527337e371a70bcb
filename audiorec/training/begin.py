"""``trainer.init_from``: training that starts from the weights of a trained model."""

from pathlib import Path

import torch

from audiorec.errors import UserError
from audiorec.models import AsrModel, ModelConfig, find_model, load_model
from audiorec.text import Tokenizer


@torch.no_grad()
def begin_from(source: Path, model: AsrModel, config: ModelConfig, tokenizer: Tokenizer) -> list[str]:
    """Copy into ``model`` each weight and statistic of the model or run directory ``source`` of the same name and shape;
    returns the names of the layers that stay random.

    Heads are copied only where the ``tokenizer`` is the same: elsewhere their rows mean other pieces. Counters are not
    copied, so a loss warms up again. Raises UserError where the features differ, or nothing of the encoder fits.
    """
    source_model, source_tokenizer, source_config = load_model(source)
    path = find_model(source)
    if source_config.features != config.features:
        raise UserError(f"{path / 'config.yaml'}: its features are not this recipe's; trainer.init_from needs the same")
    target_state, source_state = model.state_dict(), source_model.state_dict()
    same_pieces = source_tokenizer.pieces == tokenizer.pieces
    weights = {name: value for name, value in target_state.items() if value.is_floating_point()}
    fitting = [
        name
        for name, value in weights.items()
        if name in source_state
        and source_state[name].shape == value.shape
        and (same_pieces or not name.startswith("heads."))
    ]
    if not any(name.startswith("encoder.") for name in fitting):
        raise UserError(
            f"{path}: nothing of its encoder fits this recipe's; trainer.init_from needs one of the same kind and size"
        )
    for name in fitting:
        target_state[name].copy_(source_state[name])
    return list(dict.fromkeys(name.rpartition(".")[0] for name in weights if name not in fitting))
