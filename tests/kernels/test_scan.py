"""The linear recurrences against their equation row by row; cut or whole, ragged, narrow inputs, long sequences."""

import pytest
import torch
from audiorec_kernels.scan import linear_scan, log_linear_scan

SCANS = {"linear": linear_scan, "log": lambda a, b, **kwargs: log_linear_scan(a.log(), b.log(), **kwargs)}
scans = pytest.mark.parametrize("scan", SCANS.values(), ids=SCANS)


def draw(rows: int, time: int, dim: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """a in (0, 1), b > 0 and a state h > 0, all of them wanting gradients."""
    torch.manual_seed(0)
    a, b = torch.rand(2, rows, time, dim, dtype=torch.float64) * 0.9 + 0.05
    h = torch.rand(rows, dim, dtype=torch.float64) + 0.1
    return tuple(tensor.requires_grad_() for tensor in (a, b, h))


def equation(a: torch.Tensor, b: torch.Tensor, h: torch.Tensor) -> list[torch.Tensor]:
    """Of one row: [h_1, …, h_T], as sums of products written out: h_t = Σ_s b_s Π_{r>s} a_r."""
    terms = torch.cat([h[None], b])
    return [
        sum(terms[s] * a[s:t].prod(0) for s in range(t + 1))  # terms[s] enters at frame s, a[s:t] come after it
        for t in range(1, len(b) + 1)
    ]


@scans
@pytest.mark.parametrize("time", [1, 9])
def test_each_row_follows_the_equation_to_its_own_length(scan, time):
    a, b, h0 = draw(3, time)
    lengths = torch.tensor([time, time // 2, 0])
    past = (torch.arange(time) >= lengths[:, None])[..., None]
    y, h = scan(a.masked_fill(past, torch.nan), b.masked_fill(past, torch.nan), initial_state=h0, lengths=lengths)
    gradients = torch.autograd.grad(y.square().sum() + (h**3).sum(), (a, b, h0))
    total = 0
    for row, n in enumerate(lengths.tolist()):
        states = equation(a[row, :n], b[row, :n], h0[row])
        assert not y[row, n:].any()
        if states:
            torch.testing.assert_close(y[row, :n], torch.stack(states))
            torch.testing.assert_close(h[row], states[-1])
        else:
            assert torch.equal(h[row], h0[row])
        total = total + sum(state.square().sum() for state in states) + ((states or [h0[row]])[-1] ** 3).sum()
    for got, expected in zip(gradients, torch.autograd.grad(total, (a, b, h0)), strict=True):
        torch.testing.assert_close(got, expected)


@scans
def test_two_calls_are_one_in_values_and_gradients(scan):
    a, b, _ = draw(2, 11)
    whole, h = scan(a, b)
    first, state = scan(a[:, :7], b[:, :7])
    second, h2 = scan(a[:, 7:], b[:, 7:], initial_state=state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    for got, expected in zip(
        torch.autograd.grad(second.sum() + h2.square().sum(), (a, b)),
        torch.autograd.grad(whole[:, 7:].sum() + h.square().sum(), (a, b)),
        strict=True,
    ):
        torch.testing.assert_close(got, expected)


@scans
def test_an_empty_row_of_zeros_has_finite_gradients(scan):
    a, b, _ = draw(2, 3)
    h0 = torch.zeros(2, 4, dtype=torch.float64, requires_grad=True)
    y, h = scan(a, b, initial_state=h0, lengths=torch.tensor([3, 0]))
    assert all(g.isfinite().all() for g in torch.autograd.grad(y.sum() + h.sum(), (a, b, h0)))


def test_gradients_too_large_for_the_caches_are_those_of_their_parts():
    """Large ones are written past the caches: 2 · 1100 · 512 floats are, one row alone is not."""
    torch.manual_seed(0)
    a, b, weight = torch.rand(3, 2, 1100, 512)
    reset = torch.rand(2, 1100) < 0.01
    lengths = torch.tensor([1100, 700])

    def gradients(rows: slice) -> tuple[torch.Tensor, ...]:
        inputs = a[rows].clone().requires_grad_(), b[rows].clone().requires_grad_()
        y, _ = linear_scan(*inputs, lengths=lengths[rows], reset=reset[rows])
        return torch.autograd.grad(y, inputs, weight[rows])

    for whole, *parts in zip(gradients(slice(2)), gradients(slice(0, 1)), gradients(slice(1, 2)), strict=True):
        assert torch.equal(whole, torch.cat(parts))


def test_signs_are_kept():
    a, b = torch.tensor([[[-0.5], [2.0], [0.0]]]), torch.tensor([[[-1.0], [-3.0], [7.0]]])
    y, _ = linear_scan(a, b, initial_state=torch.tensor([[4.0]]))
    assert y[0, :, 0].tolist() == [-3.0, -9.0, 7.0]


@pytest.mark.parametrize("scan, one", [(linear_scan, 1.0), (log_linear_scan, 0.0)])
def test_narrow_inputs_are_summed_in_float32(scan, one):
    ones = torch.full((1, 600, 1), one, dtype=torch.bfloat16)
    y, h = scan(ones, ones)  # h_t = h_{t−1} + 1: in bfloat16 it would stay at 256
    assert y.dtype == torch.bfloat16 and h.dtype == torch.float32
    torch.testing.assert_close(h, torch.tensor([[600.0]]), rtol=1e-5, atol=0)


@scans
def test_float32_stays_near_float64_over_10000_frames(scan):
    torch.manual_seed(0)
    z = torch.sigmoid(torch.randn(1, 10_000, 8) - 3)
    b = z * torch.rand_like(z)
    (y, _), (exact, _) = scan(1 - z, b), scan((1 - z).double(), b.double())
    assert (y - exact).abs().max() <= 2e-6 * exact.abs().max()
