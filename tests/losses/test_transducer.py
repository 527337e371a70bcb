"""Transducer losses against all their alignments, torchaudio and one another; rows without a path; bad input."""

import math

import pytest
import torch

from audiorec.losses import (
    FullTransducerLoss,
    do_rnnt_pruning,
    get_rnnt_logprobs_joint,
    get_rnnt_prune_ranges,
    mean_per_token,
    rnnt_loss,
    rnnt_loss_pruned,
    rnnt_loss_simple,
    rnnt_loss_smoothed,
)
from audiorec.losses.transducer import RNNT_TYPES

from .joiner import VOCABULARY, draw

BLANK = 2  # any symbol may be the blank


def alignments(log_probs: torch.Tensor, symbols: list[int], rnnt_type: str) -> torch.Tensor:
    """−log of the summed probability of every alignment, written out: log_probs (T, S+1, V)."""
    frames, totals = len(log_probs), []

    def walk(t: int, s: int, total: torch.Tensor) -> None:
        if t == frames:
            if s == len(symbols):
                totals.append(total)
            return
        walk(t + 1, s, total + log_probs[t, s, BLANK])
        if s < len(symbols):
            out = total + log_probs[t, s, symbols[s]]
            if rnnt_type == "regular":
                walk(t, s + 1, out)
            elif rnnt_type == "modified":
                walk(t + 1, s + 1, out)
            else:
                walk(t + 1, s + 1, out + log_probs[t, s + 1, BLANK])

    walk(0, 0, log_probs.new_zeros(()))
    return -torch.logsumexp(torch.stack(totals), 0) if totals else log_probs.sum() * 0 + math.inf


def random_logits(rows: int, frames: int, symbols: int, size: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(frames)
    logits = torch.randn(rows, frames, symbols + 1, size, dtype=torch.float64).requires_grad_()
    choices = torch.tensor([v for v in range(size) if v != BLANK])
    return logits, choices[torch.randint(len(choices), (rows, symbols))]


@pytest.mark.parametrize("rnnt_type", RNNT_TYPES)
@pytest.mark.parametrize("frames, symbols", [(1, 0), (1, 1), (4, 4), (3, 4), (4, 2)])
def test_full_is_the_sum_over_all_alignments(rnnt_type, frames, symbols):
    logits, targets = random_logits(3, frames, symbols)
    boundary = torch.tensor([[0, 0, symbols, frames], [0, 0, symbols // 2, frames], [0, 0, symbols, 1]])
    losses = rnnt_loss(logits, targets, BLANK, boundary, rnnt_type, reduction="none")
    expected = torch.stack(
        [
            alignments(logits[row, :t].log_softmax(-1), targets[row, :s].tolist(), rnnt_type)
            for row, (_, _, s, t) in enumerate(boundary.tolist())
        ]
    )
    torch.testing.assert_close(losses, expected)
    finite = torch.isfinite(expected)
    for got, exact in zip(
        torch.autograd.grad(mean_per_token(losses, boundary[:, 2])[0], logits),
        torch.autograd.grad(expected[finite].sum() / boundary[finite, 2].clamp(min=1).sum().clamp(min=1), logits),
        strict=True,
    ):
        torch.testing.assert_close(got, exact)


def test_equals_torchaudio():
    functional = pytest.importorskip("torchaudio.functional", exc_type=(ImportError, OSError))
    torch.manual_seed(0)
    logits = torch.randn(3, 20, 8, 11).requires_grad_()
    targets, lengths, counts = torch.randint(1, 11, (3, 7)), torch.tensor([20, 13, 9]), torch.tensor([7, 4, 0])
    boundary = torch.stack([0 * lengths, 0 * lengths, counts, lengths], 1)
    ours = rnnt_loss(logits, targets, 0, boundary, reduction="none")
    theirs = functional.rnnt_loss(logits, targets.int(), lengths.int(), counts.int(), blank=0, reduction="none")
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(*(torch.autograd.grad(x.sum(), logits)[0] for x in (ours, theirs)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("rnnt_type", RNNT_TYPES)
def test_gradchecks(rnnt_type):
    logits, targets = random_logits(2, 4, 3)
    ranges = torch.tensor([[0, 1, 2], [0, 1, 2], [1, 2, 3], [1, 2, 3]]).expand(2, 4, 3)
    boundary = torch.tensor([[0, 0, 3, 4], [0, 0, 2, 3]])
    am, lm = (x.detach().clone().requires_grad_() for x in (logits[:, :, 0], logits[:, 0]))
    options = {"boundary": boundary, "rnnt_type": rnnt_type, "delay_penalty": 0.1}
    check = torch.autograd.gradcheck
    assert check(lambda x: rnnt_loss(x, targets, BLANK, **options), logits)
    assert check(lambda lm, am: rnnt_loss_smoothed(lm, am, targets, BLANK, **options), (lm, am))
    band = logits[:, :, :3].detach().clone().requires_grad_()
    for hat in (False, True):
        assert check(lambda x, hat=hat: rnnt_loss_pruned(x, targets, ranges, BLANK, use_hat_loss=hat, **options), band)


def test_the_simple_loss_is_the_full_loss_of_a_sum():
    logits, targets = random_logits(2, 6, 3)
    am, lm = logits[:, :, 0], logits[:, 0]
    simple = rnnt_loss_simple(lm, am, targets, BLANK, reduction="none")
    torch.testing.assert_close(simple, rnnt_loss(am[:, :, None] + lm[:, None], targets, BLANK, reduction="none"))


@pytest.mark.parametrize("rnnt_type", RNNT_TYPES)
def test_a_band_that_holds_everything_is_the_full_loss(rnnt_type):
    logits, targets = random_logits(2, 6, 3)
    ranges = torch.arange(4).expand(2, 6, 4)
    pruned = rnnt_loss_pruned(logits, targets, ranges, BLANK, rnnt_type=rnnt_type, reduction="none")
    torch.testing.assert_close(pruned, rnnt_loss(logits, targets, BLANK, rnnt_type=rnnt_type, reduction="none"))


def test_a_band_moves_up_no_faster_than_it_is_wide_and_ends_at_the_last_symbol():
    torch.manual_seed(0)
    am, lm = 3 * torch.randn(4, 12, 6), 3 * torch.randn(4, 11, 6)
    symbols = torch.randint(1, 6, (4, 10))
    boundary = torch.tensor([[0, 0, 10, 12], [0, 0, 7, 12], [0, 0, 10, 9], [0, 0, 1, 3]])
    for rnnt_type in RNNT_TYPES:
        _, occupancies = rnnt_loss_simple(lm, am, symbols, 0, boundary, rnnt_type, return_grad=True)
        for width in (2, 3, 5, 11, 20):
            ranges = get_rnnt_prune_ranges(*occupancies, boundary, width)
            first = ranges[..., 0]
            kept = min(width, 11)
            assert ranges.shape == (4, 12, kept) and torch.equal(
                ranges - first[..., None], torch.arange(kept).expand_as(ranges)
            )
            steps = first.diff(dim=1)
            assert (first[:, 0] == 0).all() and (steps >= 0).all()
            assert steps.max() <= (1 if rnnt_type != "regular" else kept - 1)
            assert torch.equal(first[:, -1], (boundary[:, 2] - kept + 1).clamp(min=0))


def test_delay_penalty_and_fastemit_emit_earlier():
    logits, targets = random_logits(2, 8, 3)
    plain = rnnt_loss(logits, targets, BLANK)
    fast = rnnt_loss(logits, targets, BLANK, fastemit=0.5)
    assert torch.equal(plain, fast)  # FastEmit is in the gradient alone
    px, py = (x.detach().requires_grad_() for x in get_rnnt_logprobs_joint(logits, targets, BLANK))
    from audiorec.losses.transducer import lattice_loss

    (of_px, of_py), (fast_px, fast_py) = (
        torch.autograd.grad(lattice_loss(px, py, None, 0.0, "sum", fastemit)[0], (px, py)) for fastemit in (0.0, 0.5)
    )
    torch.testing.assert_close(fast_px, 1.5 * of_px)
    torch.testing.assert_close(fast_py, of_py)
    late = [
        (lattice_loss(px, py, None, penalty, "none")[1][0].sum(1) * torch.arange(9)).sum()
        for penalty in (0.0, 0.3, 3.0)
    ]
    assert late[0] > late[1] > late[2]


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
def test_the_module_is_the_full_loss_of_its_joiner(recompute, activation):
    joiner, batch = draw(activation=activation)
    hidden = joiner.encoder_proj(batch.encoder)[:, :, None] + joiner.predictor_proj(batch.predictor)[:, None]
    logits = joiner.output(getattr(torch, activation)(hidden))
    expected = rnnt_loss(logits, batch.symbols.clamp(min=0), 0, batch.boundary, reduction="none")
    losses = FullTransducerLoss(recompute=recompute)(batch.encoder, batch.predictor, joiner, *batch[2:])
    torch.testing.assert_close(losses, expected)
    wanted = [batch.encoder, batch.predictor, *joiner.parameters()]
    for got, exact in zip(
        *(torch.autograd.grad(x @ torch.tensor([1.0, 2, 3]).double(), wanted) for x in (losses, expected)), strict=True
    ):
        torch.testing.assert_close(got, exact)


LOGITS, SYMBOLS = torch.zeros(2, 5, 4, VOCABULARY), torch.ones(2, 3, dtype=torch.int64)
RANGES = torch.arange(2).expand(2, 5, 2)
AM, LM = torch.zeros(2, 5, VOCABULARY), torch.zeros(2, 4, VOCABULARY)
OCCUPANCIES = torch.zeros(2, 3, 6), torch.zeros(2, 4, 5)
BOUNDARY = torch.tensor([[0, 0, 3, 5]] * 2)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: rnnt_loss(LOGITS, SYMBOLS, VOCABULARY), r"termination_symbol \(blank\) must lie in 0..6, got 7"),
        (lambda: rnnt_loss_simple(LM, AM, SYMBOLS, -1), r"termination_symbol \(blank\) must lie in 0..6, got -1"),
        (lambda: rnnt_loss(LOGITS, SYMBOLS * 9, 0), "symbols must lie in 0..6, got 9..9"),
        (lambda: rnnt_loss(LOGITS, SYMBOLS.int(), 0), "symbols must be int64"),
        (lambda: rnnt_loss(LOGITS[:, :, :3], SYMBOLS, 0), r"logits must be \(B, T, S\+1, V\)"),
        (lambda: rnnt_loss(LOGITS, SYMBOLS, 0, rnnt_type="loose"), "rnnt_type must be one of regular, modified"),
        (lambda: rnnt_loss(LOGITS, SYMBOLS, 0, reduction="max"), "reduction must be one of none, mean, sum"),
        (lambda: rnnt_loss(LOGITS, SYMBOLS, 0, BOUNDARY + 1), "boundary must have rows with"),
        (lambda: rnnt_loss_simple(LM[..., :-1], AM, SYMBOLS, 0), r"am must be \(B, T, V\) and lm"),
        (lambda: rnnt_loss_simple(LM[:, :-1], AM, SYMBOLS, 0), r"symbols must be \(B, S\) for lm"),
        (lambda: rnnt_loss_pruned(LOGITS[:, :, :2], SYMBOLS, RANGES + 3, 0), "ranges must lie in 0..3"),
        (lambda: rnnt_loss_pruned(LOGITS, SYMBOLS, RANGES, 0), r"logits must be \(B, T, s_range, V\)"),
        (lambda: do_rnnt_pruning(AM, LM, RANGES + 3), "ranges must lie in 0..3"),
        (lambda: do_rnnt_pruning(AM[:, 1:], LM, RANGES), "ranges must be"),
        (lambda: get_rnnt_prune_ranges(*OCCUPANCIES, BOUNDARY, 1), "s_range must be at least 2"),
        (lambda: get_rnnt_prune_ranges(OCCUPANCIES[1], OCCUPANCIES[1], BOUNDARY, 2), "px_grad must be"),
    ],
)
def test_bad_input_is_one_clear_error(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
