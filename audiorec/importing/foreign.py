"""``Foreign``: another toolkit's model in this library's terms, and how it becomes a model folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from audiorec import __version__
from audiorec.config import parse
from audiorec.errors import UserError
from audiorec.models import AsrModel, ModelConfig, heads_text, model_card, save_model
from audiorec.text import Tokenizer


@dataclass
class Foreign:
    """A model's config as plain values, its weights under this library's names, and its tokenizer; ``source`` is their path."""

    source: str
    config: dict[str, Any]
    weights: dict[str, Tensor]
    tokenizer: Tokenizer

    def save(self, out: Path) -> AsrModel:
        """Write the model folder, whole or not at all. Raises UserError where weights are missing or of other shapes."""
        config = parse(ModelConfig, self.config, source=self.source)
        model = AsrModel(config, self.tokenizer.size)
        # What a checkpoint has no word for, such as the mean of features that are not normalised, stays as it is made.
        own = {name: tensor for name, tensor in model.state_dict().items() if name.startswith("features.")}
        weights = own | {name: tensor.float() for name, tensor in self.weights.items()}
        check_shapes(self.source, model.state_dict(), weights)
        model.load_state_dict(weights)
        model.eval()
        save_model(out, model, config, self.tokenizer, _card(out.name, Path(self.source).name, model, config))
        return model


def check_shapes(source: str, expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    """Raises UserError that names the first weight that is missing, left over or of another shape than the config says."""
    for name in sorted(expected.keys() | given.keys()):
        ours = tuple(expected[name].shape) if name in expected else "no part of the model"
        theirs = tuple(given[name].shape) if name in given else "missing"
        if ours != theirs:
            raise UserError(f"{source}: the weight {name} is {theirs}, by its own config it is {ours}: not one model")


def _card(name: str, source: str, model: AsrModel, config: ModelConfig) -> str:
    lead = f"""Imported by audiorec {__version__} from {source}: encoder {config.encoder.kind}, heads {heads_text(config)}.
The weights are that model's, and so is their licence."""
    looks = ", ".join(f"{ms:g}" for ms in model.latencies)
    return model_card(name, lead, model, config, {"look-aheads to choose from, ms": looks})
