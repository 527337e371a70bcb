"""A small joiner and a ragged batch, for the tests of losses that read one."""

from typing import NamedTuple

import torch
from torch import Tensor

from audiorec.decoders import Joiner


class Batch(NamedTuple):
    encoder: Tensor  # (B, T, C)
    predictor: Tensor  # (B, S+1, P)
    symbols: Tensor  # (B, S)
    lengths: Tensor
    symbol_lengths: Tensor

    @property
    def boundary(self) -> Tensor:
        zero = torch.zeros_like(self.lengths)
        return torch.stack([zero, zero, self.symbol_lengths, self.lengths], 1)


ENCODER, PREDICTOR, HIDDEN, VOCABULARY = 4, 5, 6, 7


def draw(
    lengths=(9, 7, 5), symbol_lengths=(6, 0, 3), outputs: int = VOCABULARY, activation: str = "tanh"
) -> tuple[Joiner, Batch]:
    """A joiner and a batch, float64; past a row's end frames are 0, symbols −1."""
    torch.manual_seed(0)
    rows, frames, count = len(lengths), max(lengths), max(symbol_lengths)
    encoder = torch.randn(rows, frames, ENCODER, dtype=torch.float64)
    predictor = torch.randn(rows, count + 1, PREDICTOR, dtype=torch.float64)
    symbols = torch.randint(1, VOCABULARY, (rows, count))
    for row, (n, s) in enumerate(zip(lengths, symbol_lengths, strict=True)):
        encoder[row, n:] = 0
        symbols[row, s:] = -1
    joiner = Joiner(ENCODER, PREDICTOR, HIDDEN, outputs, activation).double()
    sizes = torch.tensor(lengths), torch.tensor(symbol_lengths)
    return joiner, Batch(encoder.requires_grad_(), predictor.requires_grad_(), symbols, *sizes)


def logits_of(joiner: Joiner, encoder: Tensor, predictor: Tensor) -> Tensor:
    """Every frame beside every history, or as they are paired already."""
    return joiner(joiner.encoder_proj(encoder), joiner.predictor_proj(predictor))
