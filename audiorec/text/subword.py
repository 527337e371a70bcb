"""Subwords: BPE and unigram pieces, trained and applied by sentencepiece and kept in ``tokenizer.model``."""

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from audiorec.errors import UserError
from audiorec.text.registry import TOKENIZERS, TokenizerConfig
from audiorec.text.tokenizer import BLANK, BLANK_PIECE, UNKNOWN, UNKNOWN_PIECE, Tokenizer

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

SILENT = 10  # sentencepiece's log levels end at 3; above them it prints nothing, errors arrive as exceptions


class SubwordTokenizer(Tokenizer):
    """A sentencepiece model whose normalisation is the identity: ``Normalizer`` does that, in the open."""

    file = "tokenizer.model"
    default_size = 500

    def __init__(self, processor: "SentencePieceProcessor"):
        self.processor = processor
        self.pieces = [processor.id_to_piece(index) for index in range(processor.get_piece_size())]

    @classmethod
    def train(cls, lines: list[list[str]], config: TokenizerConfig) -> "SubwordTokenizer":
        """A tokenizer of exactly the config's ``size``; without one, of 500 pieces or the largest number that the text allows.

        Raises UserError when the text does not allow the size.
        """
        size = config.size
        target = cls.default_size if size is None else size
        characters = {character for line in lines for word in line for character in word}
        minimum = len(characters) + 3  # blank, unknown and "▁"
        if target < minimum:
            raise UserError(
                f"tokenizer.size {target}{' (the default)' if size is None else ''}: too small, this text has "
                f"{len(characters)} different characters, so a {cls.kind} tokenizer needs at least {minimum} pieces"
            )
        tokenizer = cls(_train(cls.kind, lines, target))
        if size is not None and tokenizer.size != size:
            raise UserError(
                f"tokenizer.size {size}: too big, this text allows a {cls.kind} tokenizer of {minimum} to "
                f"{tokenizer.size} pieces"
            )
        return tokenizer

    @staticmethod
    def load(path: Path) -> "SubwordTokenizer":
        """The tokenizer of a ``tokenizer.model``. Raises UserError when it is no sound model or its blank is not 0."""
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
        return UnigramTokenizer(processor) if is_unigram(processor) else BpeTokenizer(processor)

    def _encode(self, words: list[str]) -> list[int]:
        return self.processor.encode(" ".join(words))

    def _content(self) -> bytes:
        return self.processor.serialized_model_proto()


@TOKENIZERS.register
class BpeTokenizer(SubwordTokenizer):
    """Byte-pair encoding: the most frequent pairs of pieces are merged (Sennrich, Haddow & Birch 2016)."""

    kind = "bpe"

    class Config(TokenizerConfig):
        kind: Literal["bpe"] = "bpe"


@TOKENIZERS.register
class UnigramTokenizer(SubwordTokenizer):
    """A unigram language model of pieces (Kudo 2018)."""

    kind = "unigram"

    class Config(TokenizerConfig):
        kind: Literal["unigram"] = "unigram"


def _train(kind: str, lines: list[list[str]], size: int) -> "SentencePieceProcessor":
    """A model of ``size`` pieces, or of the largest number below it that the text allows."""
    from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

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
            hard_vocab_limit=False,
            max_sentence_length=2**30,  # longer ones would be left out without a message
            minloglevel=SILENT,
        )
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"tokenizer.size {size}: sentencepiece cannot train a {kind} tokenizer: {reason}") from error
    return SentencePieceProcessor(model_proto=model.getvalue())


def is_unigram(processor: "SentencePieceProcessor") -> bool:
    """The processor does not tell its kind, but only unigram models can list several segmentations."""
    try:
        processor.nbest_encode("", nbest_size=1)
    except RuntimeError:
        return False
    return True
