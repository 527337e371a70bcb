"""Log-probabilities from a joiner, computed only at the cells and symbols that a lattice reads."""

from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiorec.losses.log_probs import projected_log_probs
from audiorec.losses.transducer import check_symbols
from audiorec.streaming import valid
from audiorec.text import BLANK


class Joiner(Protocol):
    """A joiner whose logits are output(activation(encoder_proj(encoder) + predictor_proj(predictor)))."""

    encoder_proj: nn.Linear
    predictor_proj: nn.Linear
    output: nn.Linear

    def activation(self, x: Tensor) -> Tensor:
        """May write into x."""


class Cells(NamedTuple):
    """A batch's lattices, and the frames that belong to them."""

    symbols: Tensor  # (B, S), blank past each row's length
    boundary: Tensor  # (B, 4): each row's lattice, from (0, 0) to its last symbol and frame
    frames: Tensor  # (N,) int64: indices into (B · T) of the frames within each row's length


def cells_of(
    encoder: Tensor, predictor: Tensor, symbols: Tensor, lengths: Tensor, symbol_lengths: Tensor, vocabulary: int
) -> Cells:
    """The lattices of encoder (B, T, C) and predictor (B, S+1, P), symbols (B, S), lengths and symbol_lengths (B,).

    Raises ValueError as ``symbols_of`` does.
    """
    symbols = symbols_of(encoder, predictor, symbols, lengths, symbol_lengths, vocabulary)
    zero = torch.zeros_like(lengths)
    # The one place where a GPU has to wait: the number of frames decides the sizes of all that follows.
    frames = valid(lengths, encoder.shape[1]).flatten().nonzero()[:, 0]
    return Cells(symbols, torch.stack([zero, zero, symbol_lengths, lengths], 1), frames)


def symbols_of(
    encoder: Tensor, predictor: Tensor, symbols: Tensor, lengths: Tensor, symbol_lengths: Tensor, vocabulary: int
) -> Tensor:
    """``symbols`` (B, S), blank past each row's length; arguments as for ``cells_of``.

    Raises ValueError where the shapes do not fit together; on the CPU also for lengths or symbols out of range, which a GPU
    would have to wait for.
    """
    batch, size = len(encoder), tuple(symbols.shape)
    if encoder.ndim != 3 or predictor.ndim != 3 or tuple(predictor.shape[:2]) != (batch, size[1] + 1):
        raise ValueError(
            f"encoder must be (B, T, C) and predictor (B, S+1, P) with symbols (B, S), "
            f"got {tuple(encoder.shape)}, {tuple(predictor.shape)} and {size}"
        )
    for name, value, limit in (("lengths", lengths, encoder.shape[1]), ("symbol_lengths", symbol_lengths, size[1])):
        on_cpu = value.device.type == "cpu"
        if value.shape != (batch,) or (on_cpu and ((value < 0) | (value > limit)).any()):
            raise ValueError(f"{name} must be ({batch},) within 0..{limit}, got {value.tolist()}")
    symbols = symbols.masked_fill(~valid(symbol_lengths, size[1]), BLANK)
    check_symbols(symbols, BLANK, vocabulary)
    return symbols


def joined_hidden(encoder: Tensor, predictor: Tensor, joiner: Joiner, ranges: Tensor, frames: Tensor) -> Tensor:
    """(N, R, H): the input of the joiner's last layer, at the N ``frames`` of encoder (B, T, C), each beside the positions
    ranges (B, T, R) of predictor (B, S+1, P)."""
    row = torch.arange(len(predictor), device=ranges.device)[:, None, None] * predictor.shape[1]
    positions = (ranges + row).flatten(0, 1)[frames]
    return paired_hidden(encoder.flatten(0, 1)[frames], positions, predictor, joiner)


def paired_hidden(encoder: Tensor, positions: Tensor, predictor: Tensor, joiner: Joiner) -> Tensor:
    """(N, R, H): the input of the joiner's last layer, of frames encoder (N, C), each beside ``positions`` (N, R), indices into
    the (B · (S+1)) of predictor (B, S+1, P)."""
    projected = joiner.encoder_proj(encoder)[:, None]
    histories = joiner.predictor_proj(predictor).flatten(0, 1)
    return joiner.activation(F.embedding(positions, histories).add_(projected))


def joined_log_probs(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, index: Tensor, frames: Tensor, recompute: bool = False
) -> Tensor:
    """(B, T, R, K): log-probabilities of symbols index (B, T, R, K), 0 outside ``frames`` (N,); hidden (N, R, H).

    Its logits would be (N, R, V); ``projected_log_probs`` never holds them all.
    """
    symbols = index.flatten(0, 1)[frames].flatten(0, 1)
    chosen = projected_log_probs(hidden.flatten(0, 1), weight, bias, symbols, recompute)
    return at_frames(chosen.view(len(hidden), *index.shape[2:]), frames, index.shape[:2])


def at_frames(values: Tensor, frames: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, T, …): values (N, …) at the ``frames`` (N,) of a batch of ``size`` (B, T), 0 elsewhere."""
    result = values.new_zeros(size[0] * size[1], *values.shape[1:])
    return result.index_copy(0, frames, values).unflatten(0, tuple(size))
