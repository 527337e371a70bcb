"""Subwords: BPE and unigram pieces, trained and applied by sentencepiece and kept in ``tokenizer.model``."""

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from audiorec.errors import UserError
from audiorec.text.tokenizer import BLANK, BLANK_PIECE, UNKNOWN, UNKNOWN_PIECE, Tokenizer

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

SILENT = 10  # sentencepiece's log levels end at 3; past them it prints nothing, errors arrive as exceptions


class SubwordTokenizer(Tokenizer):
    """A sentencepiece model whose normalisation is the identity: ``Normalizer`` does that, in the open."""

    file = "tokenizer.model"

    def __init__(self, kind: str, processor: "SentencePieceProcessor"):
        self.kind = kind
        self.processor = processor
        self.pieces = [processor.id_to_piece(index) for index in range(processor.get_piece_size())]

    def _encode(self, words: list[str]) -> list[int]:
        return self.processor.encode(" ".join(words))

    def _content(self) -> bytes:
        return self.processor.serialized_model_proto()


def train_subword(kind: str, lines: list[list[str]], size: int | None) -> SubwordTokenizer:
    """A bpe or unigram tokeniser of exactly ``size`` pieces. Raises UserError when the text does not allow it."""
    from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

    if size is None:
        raise UserError(f"tokenizer size: a {kind} tokenizer needs one, such as 500")
    characters = {character for line in lines for word in line for character in word}
    least = len(characters) + 3  # blank, unknown and "▁"
    if size < least:
        raise UserError(
            f"tokenizer size {size}: too small, this text has {len(characters)} different characters, "
            f"so a {kind} tokenizer needs at least {least} pieces"
        )
    model = BytesIO()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=(" ".join(line) for line in lines),
            model_writer=model,
            model_type=kind,
            vocab_size=size,
            pad_id=BLANK,
            pad_piece=BLANK_PIECE,
            unk_id=UNKNOWN,
            unk_piece=UNKNOWN_PIECE,
            bos_id=-1,
            eos_id=-1,
            character_coverage=1.0,
            normalization_rule_name="identity",
            byte_fallback=False,
            hard_vocab_limit=False,  # what it then reaches is the most it can, and our message says so
            max_sentence_length=2**30,  # longer ones would be left out without a word
            minloglevel=SILENT,
        )
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"tokenizer size {size}: sentencepiece cannot train a {kind} tokenizer: {reason}") from error
    tokenizer = SubwordTokenizer(kind, SentencePieceProcessor(model_proto=model.getvalue()))
    if tokenizer.size != size:
        raise UserError(
            f"tokenizer size {size}: too big, this text allows a {kind} tokenizer of {least} to {tokenizer.size} pieces"
        )
    return tokenizer


def load_subword(path: Path) -> SubwordTokenizer:
    """The tokeniser of a ``tokenizer.model``. Raises UserError when it is no sound model or its blank is not 0."""
    from sentencepiece import SentencePieceProcessor

    try:
        processor = SentencePieceProcessor(model_proto=path.read_bytes())
    except (OSError, RuntimeError) as error:
        raise UserError(f"{path}: no sound sentencepiece model ({' '.join(str(error).split())})") from None
    # A file cut off between two fields still parses, but it has lost its trainer's settings and with them the blank.
    if processor.pad_id() != BLANK or processor.unk_id() != UNKNOWN:
        raise UserError(
            f"{path}: the blank (sentencepiece's pad) must have id {BLANK} and unknown id {UNKNOWN}; "
            "the file is cut off, or was not made by `audiorec tokenizer`"
        )
    return SubwordTokenizer(_kind(processor), processor)


def _kind(processor: "SentencePieceProcessor") -> str:
    """The processor does not tell its kind, but only unigram models can list several segmentations."""
    try:
        processor.nbest_encode("", nbest_size=1)
    except RuntimeError:
        return "bpe"
    return "unigram"
