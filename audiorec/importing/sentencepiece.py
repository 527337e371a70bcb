"""A sentencepiece model with this library's blank put first: its file is a protocol buffer, of which two fields are changed.

https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto. Done by hand, since the generated classes need
protobuf, which nothing else here does.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from audiorec.errors import UserError
from audiorec.text import load_tokenizer
from audiorec.text.subword import SubwordTokenizer
from audiorec.text.tokenizer import BLANK, BLANK_PIECE, UNKNOWN

PIECES, TRAINER = 1, 2  # fields of ModelProto
PIECE, SCORE, TYPE = 1, 2, 3  # of a piece
MODEL_TYPE, VOCABULARY, UNK_ID, BOS_ID, EOS_ID, PAD_ID, PAD_PIECE = 3, 4, 40, 41, 42, 43, 48  # of TrainerSpec
NORMAL, UNKNOWN_TYPE, CONTROL = 1, 2, 3
_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5  # wire types


def with_blank_first(content: bytes, source: str) -> SubwordTokenizer:
    """The tokenizer of a model whose unknown piece has id 0: all ids become one more, and 0 is the blank.

    Raises UserError for what is no such model.
    """
    try:
        model = list(_fields(content))
        pieces = [_piece(value) for number, _, value in model if number == PIECES]
        trainer = [list(_fields(value)) for number, _, value in model if number == TRAINER]
        if not pieces or not trainer:
            raise ValueError("no pieces or no settings")
    except (ValueError, IndexError, TypeError, struct.error) as error:
        raise UserError(f"{source}: no sound sentencepiece model ({error})") from None
    if pieces[0][1] != UNKNOWN_TYPE or any(kind == UNKNOWN_TYPE for _, kind in pieces[1:]):
        raise UserError(f"{source}: the unknown piece must have id 0, as NeMo trains its tokenizers")
    blank = _bytes(PIECE, BLANK_PIECE.encode()) + _float(SCORE, 0.0) + _varint(TYPE, CONTROL)
    # The last of several values of a field counts, so what is changed is added at the end.
    ids = {VOCABULARY: len(pieces) + 1, UNK_ID: UNKNOWN, BOS_ID: -1, EOS_ID: -1, PAD_ID: BLANK}
    settings = b"".join(_varint(number, value) for number, value in ids.items()) + _bytes(
        PAD_PIECE, BLANK_PIECE.encode()
    )
    return tokenizer_of(_bytes(PIECES, blank) + content + _bytes(TRAINER, settings), source)


def made_of(pieces: list[tuple[str, float]], unigram: bool, source: str) -> SubwordTokenizer:
    """A tokenizer of pieces (text, score), the unknown one first: those of another format."""
    kinds = [UNKNOWN_TYPE] + [NORMAL] * (len(pieces) - 1)
    content = b"".join(
        _bytes(PIECES, _bytes(PIECE, piece.encode()) + _float(SCORE, score) + _varint(TYPE, kind))
        for (piece, score), kind in zip(pieces, kinds, strict=True)
    )
    content += _bytes(TRAINER, _varint(MODEL_TYPE, 1 if unigram else 2))
    return with_blank_first(content, source)


def tokenizer_of(content: bytes, source: str) -> SubwordTokenizer:
    with TemporaryDirectory() as folder:
        (Path(folder) / SubwordTokenizer.file).write_bytes(content)
        try:
            tokenizer = load_tokenizer(folder)
        except UserError as error:
            raise UserError(f"{source}: {str(error).partition(': ')[2]}") from None
    assert isinstance(tokenizer, SubwordTokenizer)
    return tokenizer


def _piece(content: bytes) -> tuple[str, int]:
    """Its text and its type."""
    text, kind = "", NORMAL
    for number, _, value in _fields(content):
        if number == PIECE:
            text = value.decode()
        if number == TYPE:
            kind = value
    return text, kind


def _fields(content: bytes) -> Iterator[tuple[int, int, Any]]:
    """(number, wire type, value) of every field of a message."""
    at = 0
    while at < len(content):
        key, at = _read_varint(content, at)
        number, kind = key >> 3, key & 7
        value: Any
        if kind == _VARINT:
            value, at = _read_varint(content, at)
        elif kind == _BYTES:
            size, at = _read_varint(content, at)
            value, at = content[at : at + size], at + size
            if len(value) < size:
                raise ValueError("cut short")
        elif kind in (_DOUBLE, _FLOAT):
            size = 8 if kind == _DOUBLE else 4
            value, at = content[at : at + size], at + size
        else:
            raise ValueError(f"wire type {kind}")
        yield number, kind, value


def _read_varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        value, at, shift = value | (byte & 127) << shift, at + 1, shift + 7
        if byte < 128:
            return value, at


def _write_varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def _varint(number: int, value: int) -> bytes:
    return _write_varint(number << 3 | _VARINT) + _write_varint(value)


def _bytes(number: int, value: bytes) -> bytes:
    return _write_varint(number << 3 | _BYTES) + _write_varint(len(value)) + value


def _float(number: int, value: float) -> bytes:
    return _write_varint(number << 3 | _FLOAT) + struct.pack("<f", value)
