"""The full transducer loss as a recipe uses it: the joiner is computed at every cell of the lattice."""

from torch import Tensor, nn

from audiorec.losses.joined import Joiner, cells_of, joined_hidden, joined_log_probs
from audiorec.losses.pruning import band_symbols, whole_ranges
from audiorec.losses.transducer import arcs, lattice_loss
from audiorec.text import BLANK


class FullTransducerLoss(nn.Module):
    """``rnnt_loss`` of a joiner, one value a row. Its logits (B, T, S+1, V) are never held all at once."""

    def __init__(
        self,
        *,
        rnnt_type: str = "regular",
        delay_penalty: float = 0.0,
        fastemit: float = 0.0,
        recompute: bool = False,
    ):
        super().__init__()
        self.rnnt_type = rnnt_type
        self.delay_penalty = delay_penalty
        self.fastemit = fastemit
        self.recompute = recompute

    def forward(
        self,
        encoder: Tensor,
        predictor: Tensor,
        joiner: Joiner,
        symbols: Tensor,
        lengths: Tensor,
        symbol_lengths: Tensor,
    ) -> Tensor:
        """(B,): encoder (B, T, C) with lengths (B,), predictor (B, S+1, P), symbols (B, S) int64 with symbol_lengths (B,)."""
        output = joiner.output
        sizes = lengths, symbol_lengths, len(output.weight)
        symbols, boundary, frames = cells_of(encoder, predictor, symbols, *sizes)
        ranges = whole_ranges(encoder.shape[1], symbols)
        hidden = joined_hidden(encoder, predictor, joiner, ranges, frames)
        index = band_symbols(symbols, ranges, BLANK)
        chosen = joined_log_probs(hidden, output.weight, output.bias, index, frames, self.recompute)
        px, py = chosen.transpose(1, 2).unbind(-1)
        px, py = arcs(px[:, :-1], py, boundary, self.rnnt_type)
        return lattice_loss(px, py, boundary, self.delay_penalty, "none", self.fastemit)[0]
