"""The language prompt: what the encoder heard, told which language it is."""

import torch
from pydantic import Field, NonNegativeInt, PositiveInt, ValidationInfo, field_validator
from torch import Tensor, nn

from audiorec.config import Config
from audiorec.errors import UserError
from audiorec.streaming import Linear, State, StreamingModule, mask, mask_finite, share


class PromptConfig(Config):
    classes: PositiveInt = Field(128, description="places of the one-hot vector")
    hidden: PositiveInt | None = Field(None, description="channels between the two maps; null: twice the encoder's")
    languages: dict[str, NonNegativeInt] = Field(min_length=1, description="languages and their places in the vector")
    default: str = Field("auto", description="the language where none is chosen, in training too")

    @field_validator("languages")
    @classmethod
    def _have_places(cls, value: dict[str, int], info: ValidationInfo) -> dict[str, int]:
        classes = info.data.get("classes", 0)
        if beyond := [name for name, place in value.items() if place >= classes]:
            raise ValueError(f"{beyond[0]}: places go from 0 to {classes - 1}, classes less one")
        return value

    @field_validator("default")
    @classmethod
    def _is_one_of_them(cls, value: str, info: ValidationInfo) -> str:
        if value not in info.data.get("languages", {value: 0}):
            raise ValueError(f"must be one of the languages: {', '.join(info.data['languages'])}")
        return value


class LanguagePrompt(StreamingModule):
    """``W₂ relu(W₁ [x, one-hot of the language])``, frame by frame, (B, T, dim) → (B, T, dim): as in Nemotron 3.5.

    ``language`` is the one in use; ``in_language`` gives a view in another.
    """

    choice: Tensor

    def __init__(self, config: PromptConfig, dim: int):
        super().__init__(dim, dim)
        hidden = config.hidden or 2 * dim
        self.languages = config.languages
        self.net = nn.Sequential(Linear(dim + config.classes, hidden), nn.ReLU(), Linear(hidden, dim))
        self.register_buffer("choice", torch.zeros(config.classes), persistent=False)
        self._use(config.default)

    def _use(self, language: str) -> None:
        self.language = language
        choice = torch.zeros_like(self.choice)
        choice[self.languages[language]] = 1
        self.choice = choice

    def in_language(self, language: str) -> "LanguagePrompt":
        """A light view in this language, which shares the weights. Raises UserError for one that it does not have."""
        if language not in self.languages:
            raise UserError(f"language {language!r}: this model has {', '.join(sorted(self.languages))}")
        view = share(self)
        view._use(language)
        return view

    def advance(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, Tensor | None, State]:
        choice = self.choice.to(x.dtype).expand(*x.shape[:2], -1)
        y = self.net(torch.cat([mask(x, lengths), choice], 2))
        return mask_finite(y, lengths), lengths, state
