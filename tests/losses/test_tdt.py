"""The token-and-duration loss against all its alignments, its limit, rows without a path, and as a module."""

import math

import pytest
import torch

from audiorec.losses import TdtLoss, mean_per_token, rnnt_loss, tdt_loss

from .joiner import VOCABULARY, draw, logits_of

DURATIONS = [0, 1, 2, 3, 4]


def alignments(tokens: torch.Tensor, lasting: torch.Tensor, symbols: list[int], durations: list[int], sigma: float):
    """−log of the summed probability of every alignment: log-probabilities tokens (T, S+1, V), lasting (T, S+1, D)."""
    frames, totals = len(tokens), []

    def walk(t: int, s: int, total: torch.Tensor) -> None:
        if t == frames:
            if s == len(symbols):
                totals.append(total)
            return
        for k, d in enumerate(durations):
            if t + d > frames:
                continue
            step = total + lasting[t, s, k] - sigma
            if d:
                walk(t + d, s, step + tokens[t, s, 0])
            if s < len(symbols):
                walk(t + d, s + 1, step + tokens[t, s, symbols[s]])

    walk(0, 0, tokens.new_zeros(()))
    return -torch.logsumexp(torch.stack(totals), 0) if totals else tokens.sum() * 0 + math.inf


def random_logits(
    rows: int, frames: int, symbols: int, durations: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(frames + symbols)
    tokens = torch.randn(rows, frames, symbols + 1, 5, dtype=torch.float64).requires_grad_()
    lasting = torch.randn(rows, frames, symbols + 1, durations, dtype=torch.float64).requires_grad_()
    return tokens, lasting, torch.randint(1, 5, (rows, symbols))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["the definition", "the kernel"])
@pytest.mark.parametrize("durations", [DURATIONS, [1, 2], [4, 1, 0], [2]])
@pytest.mark.parametrize("frames, symbols", [(1, 1), (4, 4), (4, 2), (3, 0)])
def test_is_the_sum_over_all_alignments(durations, frames, symbols, dtype):
    tokens, lasting, targets = random_logits(2, frames, symbols, len(durations))
    tolerance = {"rtol": 1e-7, "atol": 1e-7} if dtype is torch.float64 else {"rtol": 1e-5, "atol": 1e-5}
    boundary = torch.tensor([[0, 0, symbols, frames], [0, 0, symbols // 2, 1]])
    logits = tokens.to(dtype), lasting.to(dtype)
    losses = tdt_loss(*logits, targets, 0, boundary, durations, sigma=0.05, reduction="none").double()
    expected = torch.stack(
        [
            alignments(
                tokens[row, :t].log_softmax(-1),
                lasting[row, :t].log_softmax(-1),
                targets[row, :s].tolist(),
                durations,
                0.05,
            )
            for row, (_, _, s, t) in enumerate(boundary.tolist())
        ]
    )
    torch.testing.assert_close(losses, expected, **tolerance)
    for got, exact in zip(
        *(
            torch.autograd.grad(mean_per_token(x, boundary[:, 2])[0], (tokens, lasting), materialize_grads=True)
            for x in (losses, expected)
        ),
        strict=True,
    ):
        torch.testing.assert_close(got, exact, **tolerance)


def test_a_token_each_frame_is_the_modified_transducer():
    tokens, lasting, targets = random_logits(3, 6, 4, 1)
    boundary = torch.tensor([[0, 0, 4, 6], [0, 0, 2, 3], [0, 0, 4, 3]])
    modified = rnnt_loss(tokens, targets, 0, boundary, "modified", reduction="none")
    torch.testing.assert_close(tdt_loss(tokens, lasting, targets, 0, boundary, [1], reduction="none"), modified)
    assert torch.isfinite(modified).tolist() == [True, True, False]


@pytest.mark.parametrize("durations, rnnt_type", [(DURATIONS, "regular"), (DURATIONS[1:], "modified")])
def test_omega_mixes_in_the_plain_transducer(durations, rnnt_type):
    tokens, lasting, targets = random_logits(2, 5, 3, len(durations))
    alone, mixed = (tdt_loss(tokens, lasting, targets, durations=durations, omega=omega) for omega in (0.0, 0.3))
    torch.testing.assert_close(mixed, 0.7 * alone + 0.3 * rnnt_loss(tokens, targets, 0, rnnt_type=rnnt_type))


def test_gradcheck():
    tokens, lasting, targets = random_logits(2, 4, 2, 3)
    boundary = torch.tensor([[0, 0, 2, 4], [0, 0, 1, 3]])
    assert torch.autograd.gradcheck(
        lambda t, d: tdt_loss(t, d, targets, 0, boundary, [0, 1, 2], sigma=0.1, omega=0.2), (tokens, lasting)
    )


@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
def test_the_module_is_the_loss_of_its_joiner(recompute):
    joiner, batch = draw(lengths=(9, 7, 0), outputs=VOCABULARY + len(DURATIONS))
    logits = logits_of(joiner, batch.encoder[:, :, None], batch.predictor[:, None])
    tokens, lasting = logits.split([VOCABULARY, len(DURATIONS)], -1)
    symbols = batch.symbols.clamp(min=0)
    expected = tdt_loss(tokens, lasting, symbols, 0, batch.boundary, sigma=0.05, omega=0.1, reduction="none")
    losses = TdtLoss(recompute=recompute)(batch.encoder, batch.predictor, joiner, *batch[2:])
    torch.testing.assert_close(losses, expected)
    assert torch.isfinite(losses).tolist() == [True, True, False]
    wanted = [batch.encoder, batch.predictor, *joiner.parameters()]
    for got, exact in zip(
        *(torch.autograd.grad(mean_per_token(x, batch.symbol_lengths)[0], wanted) for x in (losses, expected)),
        strict=True,
    ):
        torch.testing.assert_close(got, exact)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"durations": [1, 2]}, r"durations are 2: \[1, 2\], but the joiner gives 5"),
        ({"durations": [0, 1, 2, 3, 3]}, "distinct"),
        ({"durations": [0, 1, 2, 3, -1]}, "distinct frame counts ≥ 0"),
        ({"omega": 1.0}, "omega must be at least 0 and less than 1"),
        ({"termination_symbol": 9}, "blank"),
    ],
)
def test_bad_input(arguments, message):
    tokens, lasting, targets = random_logits(2, 5, 3, 5)
    with pytest.raises(ValueError, match=message):
        tdt_loss(tokens, lasting, targets, **arguments)
    with pytest.raises(ValueError, match="duration_logits"):
        tdt_loss(tokens, lasting[:, 1:], targets)
