"""The length-aware LSTM against nn.LSTM on each row alone: values, states and gradients, cut or whole."""

import pytest
import torch
from audiorec_kernels.rnn import dense_lstm

NAMES = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


@pytest.mark.parametrize("time", [1, 3, 4, 17])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("ends", [[1.0], [1.0, 0.5, 0.0]], ids=["one row", "ragged"])
def test_each_row_is_an_lstm_of_its_own_length(time, dtype, ends):
    torch.manual_seed(0)
    layer = torch.nn.LSTM(5, 6, batch_first=True, dtype=dtype)
    weights = [getattr(layer, name) for name in NAMES]
    lengths = torch.tensor([round(end * time) for end in ends])
    x = torch.randn(len(ends), time, 5, dtype=dtype)
    x[torch.arange(time) >= lengths[:, None]] = torch.nan
    h0, c0 = torch.randn(2, len(ends), 6, dtype=dtype)
    y, (h, c) = dense_lstm(x, *weights, initial_state=(h0, c0), lengths=lengths)
    gradients = torch.autograd.grad(y.square().sum() + h.sum() + (c * c).sum(), weights)
    total = 0
    for row, n in enumerate(lengths.tolist()):
        if n == 0:
            assert torch.equal(h[row], h0[row]) and torch.equal(c[row], c0[row]) and not y[row].any()
            total = total + h0[row].sum()
            continue
        alone, (h1, c1) = layer(x[row : row + 1, :n], (h0[None, row : row + 1], c0[None, row : row + 1]))
        torch.testing.assert_close(y[row, :n], alone[0])
        torch.testing.assert_close(h[row], h1[0, 0])
        torch.testing.assert_close(c[row], c1[0, 0])
        assert not y[row, n:].any()
        total = total + alone.square().sum() + h1.sum() + c1.square().sum()
    for a, b in zip(gradients, torch.autograd.grad(total, weights), strict=True):
        torch.testing.assert_close(a, b)


def test_two_calls_are_one_in_values_and_gradients():
    torch.manual_seed(0)
    layer = torch.nn.LSTM(5, 6, batch_first=True, dtype=torch.float64)
    weights = [getattr(layer, name) for name in NAMES]
    x = torch.randn(2, 12, 5, dtype=torch.float64)
    whole, (h, c) = dense_lstm(x, *weights)
    a, state = dense_lstm(x[:, :9], *weights)
    b, (h2, c2) = dense_lstm(x[:, 9:], *weights, initial_state=state, lengths=torch.tensor([3, 3]))
    torch.testing.assert_close(torch.cat([a, b], 1), whole)
    for got, expected in zip(
        torch.autograd.grad(b.sum() + h2.sum() + c2.sum(), weights),
        torch.autograd.grad(whole[:, 9:].sum() + h.sum() + c.sum(), weights),
        strict=True,
    ):
        torch.testing.assert_close(got, expected)
