"""Log-probabilities out of a joiner, only at the cells and symbols a lattice asks for."""

from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiorec.losses.log_probs import projected_log_probs
from audiorec.losses.transducer import check_symbols
from audiorec.text import BLANK


class Joiner(Protocol):
    """A joiner whose logits are output(tanh(encoder_proj(encoder) + predictor_proj(predictor)))."""

    encoder_proj: nn.Linear
    predictor_proj: nn.Linear
    output: nn.Linear


class Cells(NamedTuple):
    """The part of a batch's lattices that is asked for."""

    symbols: Tensor  # (B, S), blank past each row's length
    boundary: Tensor  # (B, 4): each row's lattice, from (0, 0) to its last symbol and frame
    valid: Tensor  # (B, T) bool: frames within each row's length


def cells_of(
    encoder: Tensor, predictor: Tensor, symbols: Tensor, lengths: Tensor, symbol_lengths: Tensor, vocabulary: int
) -> Cells:
    """Of encoder (B, T, C) and predictor (B, S+1, P); one clear ValueError where the parts do not fit together, or the symbols
    the joiner's ``vocabulary``."""
    batch, size = len(encoder), tuple(symbols.shape)
    if encoder.ndim != 3 or predictor.ndim != 3 or tuple(predictor.shape[:2]) != (batch, size[1] + 1):
        raise ValueError(
            f"encoder must be (B, T, C) and predictor (B, S+1, P) with symbols (B, S), "
            f"got {tuple(encoder.shape)}, {tuple(predictor.shape)} and {size}"
        )
    for name, given, limit in (("lengths", lengths, encoder.shape[1]), ("symbol_lengths", symbol_lengths, size[1])):
        if given.shape != (batch,) or ((given < 0) | (given > limit)).any():
            raise ValueError(f"{name} must be ({batch},) within 0..{limit}, got {given.tolist()}")
    past = torch.arange(size[1], device=symbols.device) >= symbol_lengths[:, None]
    symbols = symbols.masked_fill(past, BLANK)
    check_symbols(symbols, BLANK, vocabulary)
    zero = torch.zeros_like(lengths)
    return Cells(
        symbols,
        torch.stack([zero, zero, symbol_lengths, lengths], 1),
        torch.arange(encoder.shape[1], device=lengths.device) < lengths[:, None],
    )


def joined_hidden(encoder: Tensor, predictor: Tensor, joiner: Joiner, ranges: Tensor, valid: Tensor) -> Tensor:
    """(N, R, H): what the joiner's last layer reads, of the N valid frames of encoder (B, T, C), each with the positions
    ranges (B, T, R) of predictor (B, S+1, P)."""
    row = torch.arange(len(predictor), device=ranges.device)[:, None, None] * predictor.shape[1]
    positions = (ranges + row)[valid]
    frames = joiner.encoder_proj(encoder[valid])[:, None]
    return F.embedding(positions, joiner.predictor_proj(predictor).flatten(0, 1)).add_(frames).tanh_()


def joined_log_probs(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, index: Tensor, valid: Tensor, recompute: bool = False
) -> Tensor:
    """(B, T, R, K): log-probabilities of symbols index (B, T, R, K), 0 at frames that are not valid; hidden as above.

    Its logits are (N, R, V), and never there at once; see ``projected_log_probs``.
    """
    chosen = projected_log_probs(hidden.flatten(0, 1), weight, bias, index[valid].flatten(0, 1), recompute)
    result = chosen.new_zeros(index.shape)
    result[valid] = chosen.view(len(hidden), *index.shape[2:])
    return result
