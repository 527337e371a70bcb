"""Cross-entropy along one path (Zeyer et al. 2020, 2021): the joiner is asked once a frame, not at each cell of the lattice."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiorec.losses.joined import Joiner, joined_log_probs, paired_hidden, symbols_of
from audiorec.streaming import valid
from audiorec.text import BLANK


class ViterbiLoss(nn.Module):
    """−log of the probability of one path, one value a row. The path is given by the frame that emits each symbol.

    The joiner is computed along the path alone: of type modified T cells a row, of the others T + S.
    """

    def __init__(self, *, rnnt_type: str = "regular"):
        super().__init__()
        self.rnnt_type = rnnt_type

    def forward(
        self,
        encoder: Tensor,
        predictor: Tensor,
        joiner: Joiner,
        symbols: Tensor,
        lengths: Tensor,
        symbol_lengths: Tensor,
        starts: Tensor,
    ) -> Tensor:
        """(B,): encoder (B, T, C) with lengths (B,), predictor (B, S+1, P), symbols (B, S) int64 with symbol_lengths (B,),
        starts (B, S) int64: the frame of each symbol.

        A row whose ``starts`` are no path has loss +inf and no gradient: those outside of its frames or going back, and two in
        one frame unless ``rnnt_type`` is regular.
        """
        output, (batch, time), count = joiner.output, encoder.shape[:2], symbols.shape[1]
        symbols = symbols_of(encoder, predictor, symbols, lengths, symbol_lengths, len(output.weight))
        emits = valid(symbol_lengths, count)
        starts = starts.masked_fill(~emits, time)
        has_path = self._has_path(starts, emits, lengths)

        # The path's cells, side by side: a symbol's is (its frame, symbols before it), a blank's (frame, symbols so far).
        frames = torch.arange(time, device=starts.device).repeat(batch, 1)
        so_far = torch.searchsorted(starts, frames, right=True)
        blanks = valid(lengths, time)
        if self.rnnt_type == "modified":  # a symbol moves on to the next frame, in place of the blank
            blanks &= so_far == torch.searchsorted(starts, frames)
        # A GPU has to wait here: the number of cells decides the sizes of all that follows.
        cells = (torch.cat([emits, blanks], 1) & has_path[:, None]).flatten().nonzero()[:, 0]
        row = torch.arange(batch, device=starts.device)[:, None]
        before = torch.arange(count, device=starts.device).repeat(batch, 1)
        frames = (torch.cat([starts, frames], 1) + row * time).flatten()[cells]
        positions = (torch.cat([before, so_far], 1) + row * (count + 1)).flatten()[cells]

        heard = F.embedding(frames, encoder.flatten(0, 1))
        hidden = paired_hidden(heard, positions[:, None], predictor, joiner)
        index = F.pad(symbols, (0, time), value=BLANK)[..., None, None]
        log_probs = joined_log_probs(hidden, output.weight, output.bias, index, cells)
        return torch.where(has_path, -log_probs.sum((1, 2, 3)), torch.inf)

    def _has_path(self, starts: Tensor, emits: Tensor, lengths: Tensor) -> Tensor:
        """(B,): whether starts (B, S), where emits (B, S), are in order and within lengths (B,)."""
        inside = (starts >= 0) & (starts < lengths[:, None])
        in_order = starts[:, 1:] - starts[:, :-1] >= (0 if self.rnnt_type == "regular" else 1)
        return (inside | ~emits).all(1) & (in_order | ~emits[:, 1:]).all(1)
