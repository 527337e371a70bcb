"""What defines a model: the part of a recipe that is kept in the model's own directory."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, PositiveInt, ValidationInfo, field_validator

from audiorec.audio.features import DEFAULT, Features
from audiorec.config import Config, load_config
from audiorec.encoders import ENCODERS
from audiorec.models.heads import HEADS
from audiorec.text import Normalizer

FORMAT = 1


class TokenizerConfig(Config):
    kind: Literal["char", "word", "bpe", "unigram"] = "bpe"
    size: PositiveInt | None = Field(None, description="number of pieces, blank included; bpe and unigram need it")
    normalize: Normalizer = Normalizer()


def _name_kinds(heads: Any) -> Any:
    """``ctc`` and ``{ctc: {weight: 1}}`` mean ``{ctc: {kind: ctc, …}}``: a head is named by its kind."""
    if isinstance(heads, str):
        heads = {heads: {}}
    if not isinstance(heads, dict):
        return heads
    return {
        kind: {"kind": kind, **(head or {})} if isinstance(head, dict | None) else head for kind, head in heads.items()
    }


class ModelConfig(Config):
    format: Literal[1] = FORMAT
    features: Features = DEFAULT
    encoder: ENCODERS.field
    heads: Annotated[dict[str, HEADS.field], Field(min_length=1), BeforeValidator(_name_kinds)]
    tokenizer: TokenizerConfig = TokenizerConfig()

    @field_validator("tokenizer")
    @classmethod
    def _labels_are_words(cls, value: TokenizerConfig, info: ValidationInfo) -> TokenizerConfig:
        if "classify" in info.data.get("heads", {}) and value.kind != "word":
            raise ValueError("heads.classify takes a word for a label and needs kind word")
        return value


class _PartOfRecipe(ModelConfig):
    model_config = ConfigDict(extra="ignore")


def load_model_config(path: Path | str, overrides: Iterable[str] = ()) -> ModelConfig:
    """The model's part of a recipe, or of a run's or a model's ``config.yaml``, with ``key.key=value`` laid over it.

    Raises UserError where there is no such file, ConfigError naming the key at fault.
    """
    return load_config(_PartOfRecipe, path, overrides)
