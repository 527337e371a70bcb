"""Text: tokenisers (characters, words, sentencepiece) and the normalisation before them."""

from audiorec.text.build import KINDS, load_tokenizer, train_tokenizer
from audiorec.text.normalize import Normalizer
from audiorec.text.tokenizer import BLANK, UNKNOWN, Tokenizer, Word, words

__all__ = ["BLANK", "KINDS", "UNKNOWN", "Normalizer", "Tokenizer", "Word", "load_tokenizer", "train_tokenizer", "words"]
