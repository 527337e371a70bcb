"""Text: tokenizers (characters, words, phones, sentencepiece) and the normalisation before them."""

from audiorec.text import phone, subword, table  # noqa: F401 (register the kinds)
from audiorec.text.build import describe_size, load_normalizer, load_tokenizer, save_tokenizer, train_tokenizer
from audiorec.text.normalize import Normalizer
from audiorec.text.registry import TOKENIZERS, TokenizerConfig
from audiorec.text.tokenizer import BLANK, UNKNOWN, Tokenizer, Word, words

KINDS = tuple(TOKENIZERS.kinds)

__all__ = [
    "BLANK",
    "KINDS",
    "TOKENIZERS",
    "UNKNOWN",
    "Normalizer",
    "Tokenizer",
    "TokenizerConfig",
    "Word",
    "describe_size",
    "load_normalizer",
    "load_tokenizer",
    "save_tokenizer",
    "train_tokenizer",
    "words",
]
