"""The two-pass loss against its parts put together by hand; warm-up; what it keeps; rows without a path."""

import pytest
import torch

from audiorec.decoders import Joiner
from audiorec.losses import (
    FullTransducerLoss,
    PrunedTransducerLoss,
    do_rnnt_pruning,
    get_rnnt_prune_ranges,
    mean_per_token,
    rnnt_loss_pruned,
    rnnt_loss_smoothed,
)
from audiorec.losses.log_probs import chosen_log_probs, projected_log_probs
from audiorec.losses.transducer import RNNT_TYPES

from .joiner import ENCODER, PREDICTOR, VOCABULARY, Batch, draw, logits_of


def make(**options) -> PrunedTransducerLoss:
    torch.manual_seed(1)
    return PrunedTransducerLoss(ENCODER, PREDICTOR, VOCABULARY, prune_range=3, **options).double()


def by_hand(loss: PrunedTransducerLoss, joiner: Joiner, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """k2's functions, as a recipe would call them."""
    symbols = batch.symbols.clamp(min=0)
    options = {"boundary": batch.boundary, "rnnt_type": loss.rnnt_type, "delay_penalty": loss.delay_penalty}
    lm, am = loss.predictor_proj(batch.predictor), loss.encoder_proj(batch.encoder)
    simple, occupancies = rnnt_loss_smoothed(
        lm, am, symbols, 0, loss.lm_only_scale, loss.am_only_scale, **options, reduction="none", return_grad=True
    )
    ranges = get_rnnt_prune_ranges(*occupancies, batch.boundary, loss.prune_range)
    encoder, predictor = do_rnnt_pruning(batch.encoder, batch.predictor, ranges)
    pruned = rnnt_loss_pruned(logits_of(joiner, encoder, predictor), symbols, ranges, 0, **options, reduction="none")
    return simple, pruned


@pytest.mark.parametrize("rnnt_type", RNNT_TYPES)
@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
def test_is_its_parts_in_values_and_gradients(rnnt_type, recompute):
    joiner, batch = draw()
    loss = make(rnnt_type=rnnt_type, delay_penalty=0.01, am_only_scale=0.1, recompute=recompute, warmup=0)
    given, expected = loss.passes(batch.encoder, batch.predictor, joiner, *batch[2:]), by_hand(loss, joiner, batch)
    wanted = [batch.encoder, batch.predictor, *joiner.parameters(), *loss.parameters()]
    gradients = []
    for simple, pruned in (given, expected):
        total = (simple + 2 * pruned) @ torch.tensor([1.0, 2, 3]).double()
        gradients.append(torch.autograd.grad(total, wanted))
    for x, y in zip([*given, *gradients[0]], [*expected, *gradients[1]], strict=True):
        torch.testing.assert_close(x, y)


def test_scales_warm_up_in_training_and_evaluation_is_the_pruned_loss():
    joiner, batch = draw()
    loss = make(warmup=4, simple_scale=0.5)
    simple, pruned = loss.passes(batch.encoder, batch.predictor, joiner, *batch[2:])
    for simple_scale, pruned_scale in [(1, 0.1), (0.875, 0.325), (0.75, 0.55), (0.625, 0.775), (0.5, 1), (0.5, 1)]:
        given = loss(batch.encoder, batch.predictor, joiner, *batch[2:])
        torch.testing.assert_close(given, simple_scale * simple + pruned_scale * pruned)
    assert loss.state_dict()["batches"] == 6  # a resumed run goes on where it was
    torch.testing.assert_close(loss.eval()(batch.encoder, batch.predictor, joiner, *batch[2:]), pruned)
    given = make(warmup=0)(batch.encoder, batch.predictor, joiner, *batch[2:])
    torch.testing.assert_close(given, 0.5 * simple + pruned)


def test_the_delay_penalty_waits_for_twice_the_warm_up():
    joiner, batch = draw()
    late, plain = make(warmup=2, delay_penalty=0.1), make(warmup=2)
    for alike in (True, True, True, True, False):
        x, y = (loss(batch.encoder, batch.predictor, joiner, *batch[2:]) for loss in (late, plain))
        assert torch.equal(x, y) == alike


@pytest.mark.parametrize("rnnt_type", RNNT_TYPES)
def test_rows_without_a_path_are_infinite_left_out_and_have_no_gradient(rnnt_type):
    joiner, batch = draw(lengths=(9, 0, 0, 2), symbol_lengths=(4, 3, 0, 5))
    loss = make(rnnt_type=rnnt_type)
    losses = loss(batch.encoder, batch.predictor, joiner, *batch[2:])
    impossible = [False, True, False, rnnt_type != "regular"]
    # A short row has no path in a band that climbs 2 symbols a frame, either.
    assert (losses == torch.inf).tolist() == [False, True, False, True]
    simple, _ = loss.passes(batch.encoder, batch.predictor, joiner, *batch[2:])
    assert (simple == torch.inf).tolist() == impossible and losses[2] == 0
    mean, left_out = mean_per_token(losses, batch.symbol_lengths)
    parameters = [batch.encoder, batch.predictor, *joiner.parameters(), *loss.parameters()]
    gradients = torch.autograd.grad(mean, parameters)
    assert left_out == 2 and all(g.isfinite().all() for g in gradients) and gradients[0][0].any()
    assert not gradients[0][1:].any() and not gradients[1][1:].any()


def test_a_batch_without_a_frame_or_a_symbol():
    for lengths, symbol_lengths in [((0, 0), (2, 0)), ((3, 2), (0, 0))]:
        joiner, batch = draw(lengths, symbol_lengths)
        losses = make()(batch.encoder, batch.predictor, joiner, *batch[2:])
        mean_per_token(losses, batch.symbol_lengths)[0].backward()
        assert torch.isfinite(losses).tolist() == [
            not (n == 0 and s) for n, s in zip(lengths, symbol_lengths, strict=True)
        ]


def test_the_fused_projection_is_log_softmax_in_pieces(monkeypatch):
    from audiorec.losses import log_probs

    monkeypatch.setattr(log_probs, "CHUNK", 3 * VOCABULARY)  # pieces of 3 rows out of 10
    torch.manual_seed(0)
    hidden, weight, bias = (torch.randn(*s, dtype=torch.float64, requires_grad=True) for s in ((10, 4), (7, 4), (7,)))
    index = torch.randint(7, (10, 2))
    index[0] = 3  # one symbol twice
    for recompute in (False, True):
        assert torch.autograd.gradcheck(
            lambda h, w, b, recompute=recompute: projected_log_probs(h, w, b, index, recompute), (hidden, weight, bias)
        )
        assert torch.autograd.gradcheck(lambda h, w: projected_log_probs(h, w, None, index), (hidden, weight))
    logits = torch.nn.functional.linear(hidden, weight, bias)
    given = projected_log_probs(hidden, weight, bias, index)
    torch.testing.assert_close(given, logits.log_softmax(-1).gather(1, index))
    torch.testing.assert_close(chosen_log_probs(logits, index), given)
    others = torch.where(torch.arange(7) == 5, -torch.inf, logits).log_softmax(-1).gather(1, index % 5)
    torch.testing.assert_close(chosen_log_probs(logits, index % 5, without=5), others)


def test_bfloat16_autocast_keeps_the_lattice_in_float32():
    joiner, batch = draw(lengths=(40, 30), symbol_lengths=(12, 7))
    batch = batch._replace(encoder=batch.encoder.detach().float(), predictor=batch.predictor.detach().float())
    joiner, loss = joiner.float(), make().float()
    expected = loss.passes(batch.encoder, batch.predictor, joiner, *batch[2:])
    with torch.autocast("cpu", torch.bfloat16):
        given = loss.passes(batch.encoder, batch.predictor, joiner, *batch[2:])
    for a, b in zip(given, expected, strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a, b, rtol=2e-2, atol=0)
    given.pruned.sum().backward()
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in joiner.parameters())


@pytest.mark.parametrize(
    "change, message",
    [
        ({"lengths": torch.tensor([9, 7, 99])}, r"lengths must be \(3,\) within 0..9"),
        ({"symbol_lengths": torch.tensor([6, 0])}, r"symbol_lengths must be \(3,\) within 0..6"),
        ({"predictor": torch.zeros(3, 6, PREDICTOR).double()}, r"predictor \(B, S\+1, P\)"),
        ({"symbols": torch.full((3, 6), VOCABULARY)}, "symbols must lie in 0..6, got 0..7"),
    ],
)
def test_bad_input(change, message):
    joiner, batch = draw()
    with pytest.raises(ValueError, match=message):
        make()(*batch[:2], joiner, *batch[2:]) if not change else make()(
            *(b := batch._replace(**change))[:2], joiner, *b[2:]
        )


def test_a_joiner_of_another_vocabulary():
    joiner, batch = draw(outputs=VOCABULARY + 1)
    with pytest.raises(ValueError, match="joiner gives 8 logits, the simple loss 7"):
        make()(batch.encoder, batch.predictor, joiner, *batch[2:])
    joiner, batch = draw(outputs=3)
    with pytest.raises(ValueError, match=r"symbols must lie in 0\.\.2"):
        FullTransducerLoss()(batch.encoder, batch.predictor, joiner, *batch[2:])
