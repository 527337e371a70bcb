"""The kinds of tokenizers. Each is a ``Tokenizer`` whose inner ``Config`` names its kind."""

from pydantic import Field, PositiveInt

from audiorec.config import Config, Registry
from audiorec.text.normalize import Normalizer

TOKENIZERS = Registry("tokenizer", default="bpe")


class TokenizerConfig(Config):
    """What the configs of all kinds hold, under ``tokenizer`` in a recipe."""

    kind: str
    size: PositiveInt | None = Field(
        None,
        description="number of pieces, blank included; unset: every piece of the text (char, word), or 500, fewer where "
        "the text does not allow as many (bpe, unigram)",
    )
    normalize: Normalizer = Field(Normalizer(), description="of texts, before training and before scoring")
