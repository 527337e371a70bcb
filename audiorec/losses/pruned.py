"""The pruned transducer loss as a recipe uses it (Kuang et al. 2022): a simple loss over the whole lattice chooses a band,
and the joiner is computed within the band alone."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from audiorec.losses.joined import Joiner, cells_of, joined_hidden, joined_log_probs
from audiorec.losses.pruning import band_arcs, band_symbols, get_rnnt_prune_ranges
from audiorec.losses.simple import rnnt_loss_smoothed
from audiorec.losses.transducer import lattice_loss
from audiorec.text import BLANK


class TwoPass(NamedTuple):
    """Losses of each row (B,)."""

    simple: Tensor
    pruned: Tensor


class PrunedTransducerLoss(nn.Module):
    """simple_scale · simple + pruned_scale · pruned, one value a row.

    In training the simple loss's scale falls from 1 to ``simple_scale`` and the pruned loss's rises from 0.1 to 1 over the
    first ``warmup`` batches, as in the published recipes; in evaluation it is the pruned loss alone. ``delay_penalty`` begins
    after 2 · ``warmup`` batches: earlier, the model would learn to emit before it has heard the sound. ``lm_only_scale`` and
    ``am_only_scale`` smooth the simple loss; with ``recompute`` backward keeps only the band's input and takes a third more
    time in the joiner.
    """

    def __init__(
        self,
        encoder_dim: int,
        predictor_dim: int,
        vocabulary: int,
        *,
        prune_range: int = 5,
        rnnt_type: str = "regular",
        delay_penalty: float = 0.0,
        lm_only_scale: float = 0.25,
        am_only_scale: float = 0.0,
        simple_scale: float = 0.5,
        warmup: int = 2000,
        recompute: bool = False,
    ):
        super().__init__()
        self.prune_range = prune_range
        self.rnnt_type = rnnt_type
        self.delay_penalty = delay_penalty
        self.lm_only_scale = lm_only_scale
        self.am_only_scale = am_only_scale
        self.simple_scale = simple_scale
        self.warmup = warmup
        self.recompute = recompute
        self.encoder_proj = nn.Linear(encoder_dim, vocabulary)
        self.predictor_proj = nn.Linear(predictor_dim, vocabulary)
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def forward(
        self,
        encoder: Tensor,
        predictor: Tensor,
        joiner: Joiner,
        symbols: Tensor,
        lengths: Tensor,
        symbol_lengths: Tensor,
    ) -> Tensor:
        """(B,): encoder (B, T, C) with lengths (B,), predictor (B, S+1, P), symbols (B, S) int64 with symbol_lengths (B,).

        A row without a path has loss +inf and no gradient.
        """
        simple, pruned = self.passes(encoder, predictor, joiner, symbols, lengths, symbol_lengths)
        if not self.training:
            return pruned
        progress = (self.batches / self.warmup).clamp(max=1) if self.warmup else 1
        self.batches += 1
        return (1 - (1 - self.simple_scale) * progress) * simple + (0.1 + 0.9 * progress) * pruned

    def passes(
        self,
        encoder: Tensor,
        predictor: Tensor,
        joiner: Joiner,
        symbols: Tensor,
        lengths: Tensor,
        symbol_lengths: Tensor,
    ) -> TwoPass:
        """The two losses, unscaled."""
        output, vocabulary = joiner.output, len(self.encoder_proj.weight)
        if len(output.weight) != vocabulary:
            raise ValueError(
                f"joiner gives {len(output.weight)} logits, the simple loss {vocabulary}: make them one vocabulary"
            )
        symbols, boundary, frames = cells_of(encoder, predictor, symbols, lengths, symbol_lengths, vocabulary)
        delay: Tensor | float = 0.0
        if self.training and self.delay_penalty:
            delay = self.delay_penalty * (self.batches >= 2 * self.warmup)  # on the device: nothing to wait for
        simple, occupancies = self._simple(encoder, predictor, symbols, boundary, delay)

        ranges = get_rnnt_prune_ranges(*occupancies, boundary, self.prune_range)
        index = band_symbols(symbols, ranges, BLANK)
        hidden = joined_hidden(encoder, predictor, joiner, ranges, frames)
        px, py = joined_log_probs(hidden, output.weight, output.bias, index, frames, self.recompute).unbind(-1)
        px, py = band_arcs(px, py, ranges, symbols.shape[1], boundary, self.rnnt_type)
        return TwoPass(simple, lattice_loss(px, py, boundary, delay, "none")[0])

    def _simple(
        self, encoder: Tensor, predictor: Tensor, symbols: Tensor, boundary: Tensor, delay: Tensor | float
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The simple loss (B,) and the occupancies, in float32 even under autocast."""
        lm, am = self.predictor_proj(predictor), self.encoder_proj(encoder)
        dtype = torch.promote_types(am.dtype, torch.float32)
        with torch.autocast(am.device.type, enabled=False):
            return rnnt_loss_smoothed(
                lm.to(dtype),
                am.to(dtype),
                symbols,
                BLANK,
                self.lm_only_scale,
                self.am_only_scale,
                boundary,
                self.rnnt_type,
                delay,
                "none",
                return_grad=True,
            )
