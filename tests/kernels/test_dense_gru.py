"""The length-aware GRU against nn.GRU on each row alone: values, states and gradients, cut or whole."""

import pytest
import torch
from audiorec_kernels.rnn import dense_gru

NAMES = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


@pytest.mark.parametrize("time", [1, 17])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("ends", [[1.0], [1.0, 0.5, 0.0]], ids=["one row", "ragged"])
def test_each_row_is_a_gru_of_its_own_length(time, dtype, ends):
    torch.manual_seed(0)
    layer = torch.nn.GRU(5, 6, batch_first=True, dtype=dtype)
    weights = [getattr(layer, name) for name in NAMES]
    lengths = torch.tensor([round(end * time) for end in ends])
    x = torch.randn(len(ends), time, 5, dtype=dtype)
    x[torch.arange(time) >= lengths[:, None]] = torch.nan
    h0 = torch.randn(len(ends), 6, dtype=dtype)
    y, h = dense_gru(x, *weights, initial_state=h0, lengths=lengths)
    gradients = torch.autograd.grad(y.square().sum() + (h * h).sum(), weights)
    total = 0
    for row, n in enumerate(lengths.tolist()):
        assert not y[row, n:].any()
        if n == 0:
            assert torch.equal(h[row], h0[row])
            continue
        alone, h1 = layer(x[row : row + 1, :n], h0[None, row : row + 1])
        torch.testing.assert_close(y[row, :n], alone[0])
        torch.testing.assert_close(h[row], h1[0, 0])
        total = total + alone.square().sum() + h1.square().sum()
    for a, b in zip(gradients, torch.autograd.grad(total, weights), strict=True):
        torch.testing.assert_close(a, b)


def test_two_calls_are_one_in_values_and_gradients():
    torch.manual_seed(0)
    layer = torch.nn.GRU(5, 6, batch_first=True, dtype=torch.float64)
    weights = [getattr(layer, name) for name in NAMES]
    x = torch.randn(2, 12, 5, dtype=torch.float64)
    whole, h = dense_gru(x, *weights)
    a, state = dense_gru(x[:, :9], *weights)
    b, h2 = dense_gru(x[:, 9:], *weights, initial_state=state, lengths=torch.tensor([3, 3]))
    torch.testing.assert_close(torch.cat([a, b], 1), whole)
    for got, expected in zip(
        torch.autograd.grad(b.sum() + h2.square().sum(), weights),
        torch.autograd.grad(whole[:, 9:].sum() + h.square().sum(), weights),
        strict=True,
    ):
        torch.testing.assert_close(got, expected)
