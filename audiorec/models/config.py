"""What defines a model: the part of a recipe that is kept in the model's own directory."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveInt

from audiorec.audio.logmel import LogMelConfig
from audiorec.config import Config
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
    features: LogMelConfig = LogMelConfig()
    encoder: ENCODERS.field
    heads: Annotated[dict[str, HEADS.field], Field(min_length=1), BeforeValidator(_name_kinds)]
    tokenizer: TokenizerConfig = TokenizerConfig()
