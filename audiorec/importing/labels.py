"""Models of characters: NeMo's labels, a space between words, as a table of characters with "▁" before each word."""

from collections.abc import Callable

import torch
from torch import Tensor

from audiorec.errors import UserError
from audiorec.text import Tokenizer
from audiorec.text.table import SPECIALS, CharTokenizer
from audiorec.text.tokenizer import MARK

_NEVER = -1e4  # the score of a symbol that the model does not know


def characters(labels: list[str], source: str) -> tuple[Tokenizer, Callable[[Tensor], Tensor]]:
    """The tokenizer of these labels, and what puts an axis of labels and blank in its order: blank, unknown, the labels.

    Raises UserError where one of them is no single character, or none is the space.
    """
    if " " not in labels or any(len(label) != 1 for label in labels) or MARK in labels:
        raise UserError(f"{source}: must be single characters, the space among them")

    def reorder(tensor: Tensor) -> Tensor:
        unknown = torch.zeros_like(tensor[:1]) if tensor.ndim > 1 else torch.full_like(tensor[:1], _NEVER)
        return torch.cat([tensor[-1:], unknown, tensor[:-1]])

    return CharTokenizer([*SPECIALS, *(MARK if label == " " else label for label in labels)]), reorder
