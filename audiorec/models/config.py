"""What defines a model: the part of a recipe that is kept in the model's own directory."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator
from torch import nn

from audiorec.audio.features import DEFAULT, Features
from audiorec.config import Config, load_config
from audiorec.data.targets import Task
from audiorec.encoders import ENCODERS
from audiorec.encoders.prompt import PromptConfig
from audiorec.models.heads import HEADS
from audiorec.text import TOKENIZERS, TokenizerConfig

FORMAT = 1


def _name_kinds(heads: Any) -> Any:
    """``ctc`` and ``{ctc: {weight: 1}}`` mean ``{ctc: {kind: ctc, …}}``: a head without ``kind`` has its kind's name."""
    if isinstance(heads, str):
        heads = {heads: {}}
    if not isinstance(heads, dict):
        return heads
    return {
        kind: {"kind": kind, **(head or {})} if isinstance(head, dict | None) else head for kind, head in heads.items()
    }


class ModelConfig(Config):
    format: Literal[1] = Field(FORMAT, description="of the model folder")
    features: Features = Field(DEFAULT, description="what turns samples into frames")
    encoder: ENCODERS.field = Field(description="what reads the frames")
    prompt: PromptConfig | None = Field(None, description="the language, told after the encoder; null: not told")
    heads: Annotated[
        dict[str, HEADS.field],
        Field(min_length=1, description="what reads the encoder and says words; the first decodes"),
        BeforeValidator(_name_kinds),
    ]
    tokenizer: TOKENIZERS.field = Field({}, description="what the model's symbols are")  # of the default kind

    @property
    def tasks(self) -> list[Task]:
        """What its heads learn, each task once."""
        tasks = [HEADS.find(head.kind).task for head in self.heads.values()]
        return list({task.name: task for task in tasks}.values())

    @property
    def metric(self) -> str:
        """What its first head is measured by."""
        return HEADS.find(next(iter(self.heads.values())).kind).metric

    @property
    def allows_empty_text(self) -> bool:
        """Whether every head can learn from a recording without a word."""
        return all(HEADS.find(head.kind).allows_empty_text for head in self.heads.values())

    @field_validator("heads")
    @classmethod
    def _names_of_modules(cls, value: dict[str, Config]) -> dict[str, Config]:
        for name in value:
            if not name.isidentifier() or hasattr(nn.ModuleDict, name):
                raise ValueError(f"{name!r} cannot be a head's name: take its kind, or another plain word")
        return value

    @field_validator("heads")
    @classmethod
    def _read_what_the_prompt_gives(cls, value: dict[str, Config], info: ValidationInfo) -> dict[str, Config]:
        inner = next((name for name, head in value.items() if getattr(head, "at", None)), None)
        if inner and info.data.get("prompt"):
            raise ValueError(f"{inner}.at: a prompt stands at the encoder's end, so all heads read there; leave it out")
        return value

    @field_validator("tokenizer")
    @classmethod
    def _labels_are_words(cls, value: TokenizerConfig, info: ValidationInfo) -> TokenizerConfig:
        for head in info.data.get("heads", {}).values():
            if HEADS.find(head.kind).names_labels and value.kind != "word":
                raise ValueError(f"heads.{head.kind} takes a word for a label and needs kind word")
        return value


class _PartOfRecipe(ModelConfig):
    model_config = ConfigDict(extra="ignore")


def load_model_config(path: Path | str, overrides: Iterable[str] = ()) -> ModelConfig:
    """The model's part of a recipe, or of a run's or a model's ``config.yaml``, with ``key.key=value`` laid over it.

    Raises UserError where there is no such file, ConfigError naming the key at fault.
    """
    return load_config(_PartOfRecipe, path, overrides)
