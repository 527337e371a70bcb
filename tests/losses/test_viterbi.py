"""The loss along one path: step by step over the joiner's logits, summed over all paths, and what is no path."""

import itertools

import pytest
import torch
from torch import Tensor

from audiorec.losses import ViterbiLoss, mean_per_token, rnnt_loss
from audiorec.search.align import align_transducer

from .joiner import draw, logits_of

TYPES = pytest.mark.parametrize("rnnt_type", ["regular", "modified", "constrained"])
LENGTHS, COUNTS = (5, 4, 3, 1, 0, 2), (3, 0, 2, 1, 0, 3)  # the last row has a path of type regular alone


def paths(rnnt_type: str, frames: int, count: int) -> list[tuple[int, ...]]:
    """Each path, as the frames of its symbols."""
    ways = itertools.combinations_with_replacement if rnnt_type == "regular" else itertools.combinations
    return list(ways(range(frames), count))


def along(path: tuple[int, ...], rnnt_type: str, log_probs: Tensor, symbols: list[int], frames: int) -> Tensor:
    """−log P of one path, step by step: log_probs (T, S+1, V)."""
    total, s = log_probs.new_zeros(()), 0
    for t in range(frames):
        while s < len(path) and path[s] == t:
            total = total - log_probs[t, s, symbols[s]]
            s += 1
        if rnnt_type != "modified" or t not in path:
            total = total - log_probs[t, s, 0]
    return total


def padded(rows: list[tuple[int, ...]]) -> Tensor:
    return torch.tensor([[*row, *[-7] * (max(COUNTS) - len(row))] for row in rows])


@TYPES
def test_is_the_cross_entropy_step_by_step(rnnt_type):
    """Values and gradients; a row without a path is +inf and moves nothing, an empty transcript is blanks alone."""
    joiner, batch = draw(LENGTHS, COUNTS)
    found = [paths(rnnt_type, *sizes) for sizes in zip(LENGTHS, COUNTS, strict=True)]
    starts = padded([ways[len(ways) // 2] if ways else (0, 1, 1) for ways in found])
    losses = ViterbiLoss(rnnt_type=rnnt_type)(batch.encoder, batch.predictor, joiner, *batch[2:], starts)
    log_probs = logits_of(joiner, batch.encoder[:, :, None], batch.predictor[:, None]).log_softmax(-1)
    expected = torch.stack(
        [
            along(ways[len(ways) // 2], rnnt_type, log_probs[row], batch.symbols[row].tolist(), LENGTHS[row])
            if ways
            else torch.tensor(torch.inf, dtype=torch.float64)
            for row, ways in enumerate(found)
        ]
    )
    torch.testing.assert_close(losses, expected)
    assert torch.isinf(losses).tolist() == [False] * 5 + [rnnt_type != "regular"]
    wanted = [batch.encoder, batch.predictor, *joiner.parameters()]
    for got, exact in zip(
        *(torch.autograd.grad(mean_per_token(x, batch.symbol_lengths)[0], wanted) for x in (losses, expected)), strict=True
    ):  # fmt: skip
        torch.testing.assert_close(got, exact)


@TYPES
def test_all_paths_make_the_full_loss_and_the_best_is_the_alignment(rnnt_type):
    joiner, batch = draw(LENGTHS, COUNTS)
    loss, sizes = ViterbiLoss(rnnt_type=rnnt_type), list(zip(LENGTHS, COUNTS, strict=True))
    losses = torch.full((len(sizes), 40), torch.inf, dtype=torch.float64)
    for i, starts in enumerate(itertools.zip_longest(*(paths(rnnt_type, *size) for size in sizes))):
        there = [row is not None for row in starts]
        given = batch.encoder, batch.predictor, joiner, *batch[2:], padded([row or () for row in starts])
        losses[there, i] = loss(*given)[there]
    logits = logits_of(joiner, batch.encoder[:, :, None], batch.predictor[:, None])
    full = rnnt_loss(logits, batch.symbols.clamp(min=0), 0, batch.boundary, rnnt_type, reduction="none")
    torch.testing.assert_close(-(-losses).logsumexp(1), full)

    best = align_transducer(lambda _: batch.predictor, joiner, batch.encoder, batch.lengths, *_texts(batch), rnnt_type)
    torch.testing.assert_close(-best.scores, losses.amin(1), rtol=1e-5, atol=1e-5)  # of float32 logits
    along_it = loss(batch.encoder, batch.predictor, joiner, *batch[2:], best.starts)
    torch.testing.assert_close(along_it, losses.amin(1))
    assert (along_it >= full - 1e-9).all()


def _texts(batch) -> tuple[Tensor, Tensor]:
    return batch.symbols.clamp(min=0), batch.symbol_lengths


@pytest.mark.parametrize(
    "starts, types",
    [
        ([0, 1, 3], "regular modified constrained"),
        ([1, 1, 3], "regular"),
        ([2, 1, 3], ""),
        ([0, 1, 4], ""),
        ([-1, 1, 3], ""),
    ],
    ids=["in order", "two in a frame", "back", "past the end", "before the begin"],
)
def test_what_is_no_path_has_no_loss_and_no_gradient(starts, types):
    """Of NaN past a row's end neither sees anything."""
    joiner, batch = draw((4, 6), (3, 3))
    encoder = batch.encoder.detach().clone()
    encoder[0, 4:] = torch.nan
    encoder.requires_grad_()
    for rnnt_type in ("regular", "modified", "constrained"):
        loss = ViterbiLoss(rnnt_type=rnnt_type)
        losses = loss(encoder, batch.predictor, joiner, *batch[2:], torch.tensor([starts, [0, 2, 5]]))
        assert torch.isfinite(losses).tolist() == [rnnt_type in types, True]
        grads = torch.autograd.grad(mean_per_token(losses, batch.symbol_lengths)[0], [encoder, *joiner.parameters()])
        assert all(torch.isfinite(gradient).all() for gradient in grads)
        assert bool(grads[0][0].any()) == (rnnt_type in types) and grads[0][1].any()
