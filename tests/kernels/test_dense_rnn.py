"""The length-aware LSTM and GRU against nn.LSTM and nn.GRU on each row alone: values, states and gradients, cut or whole."""

import pytest
import torch
from audiorec_kernels.native import WIDE
from audiorec_kernels.rnn import dense as dense_module
from audiorec_kernels.rnn import dense_gru, dense_lstm, dense_lstm_states
from torch import Tensor

NAMES = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
KINDS = pytest.mark.parametrize("kind", ["lstm", "gru"])
States = tuple[Tensor, ...]  # h and c, or h alone, of (B, D)


def layer_of(kind: str, dtype: torch.dtype = torch.float64) -> tuple[torch.nn.Module, list[Tensor]]:
    torch.manual_seed(0)
    layer = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[kind](5, 6, batch_first=True, dtype=dtype)
    return layer, [getattr(layer, name) for name in NAMES]


def dense(
    kind: str, x: Tensor, weights: list[Tensor], states: States | None = None, **options
) -> tuple[Tensor, States]:
    if kind == "lstm":
        return dense_lstm(x, *weights, initial_state=states, **options)
    y, h = dense_gru(x, *weights, initial_state=states[0] if states else None, **options)
    return y, (h,)


def alone(kind: str, layer: torch.nn.Module, x: Tensor, states: States) -> tuple[Tensor, States]:
    """torch's own layer on one row (T, C) from states (D,)."""
    given = tuple(s[None, None] for s in states)
    y, last = layer(x[None], given if kind == "lstm" else given[0])
    return y[0], tuple(s[0, 0] for s in (last if kind == "lstm" else (last,)))


def weighed(y: Tensor, states: States) -> Tensor:
    """A number whose gradient depends on every output and state, on each in another way."""
    return y.square().sum() + sum((i + s).square().sum() for i, s in enumerate(states))


@KINDS
@pytest.mark.parametrize("time", [1, 3, 4, 17])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("ends", [[1.0], [1.0, 0.5, 0.0]], ids=["one row", "ragged"])
def test_each_row_is_a_layer_of_its_own_length(kind, time, dtype, ends):
    layer, weights = layer_of(kind, dtype)
    lengths = torch.tensor([round(end * time) for end in ends])
    x = torch.randn(len(ends), time, 5, dtype=dtype)
    x[torch.arange(time) >= lengths[:, None]] = torch.nan
    initial = tuple(torch.randn(2 if kind == "lstm" else 1, len(ends), 6, dtype=dtype))
    y, states = dense(kind, x, weights, initial, lengths=lengths)
    gradients = torch.autograd.grad(weighed(y, states), weights)
    total = torch.zeros((), dtype=dtype)
    for row, n in enumerate(lengths.tolist()):
        own = tuple(s[row] for s in initial)
        assert not y[row, n:].any()
        if n == 0:
            assert all(torch.equal(s[row], before) for s, before in zip(states, own, strict=True))
            continue
        expected, last = alone(kind, layer, x[row, :n], own)
        torch.testing.assert_close(y[row, :n], expected)
        for s, s_expected in zip(states, last, strict=True):
            torch.testing.assert_close(s[row], s_expected)
        total = total + weighed(expected, last)
    for a, b in zip(gradients, torch.autograd.grad(total, weights), strict=True):
        torch.testing.assert_close(a, b)


@KINDS
def test_two_calls_are_one_in_values_and_gradients(kind):
    _, weights = layer_of(kind)
    x = torch.randn(2, 12, 5, dtype=torch.float64)
    whole, last = dense(kind, x, weights)
    a, states = dense(kind, x[:, :9], weights)
    b, states = dense(kind, x[:, 9:], weights, states, lengths=torch.tensor([3, 3]))
    torch.testing.assert_close(torch.cat([a, b], 1), whole)
    for got, expected in zip(
        torch.autograd.grad(weighed(b, states), weights),
        torch.autograd.grad(weighed(whole[:, 9:], last), weights),
        strict=True,
    ):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("time", [1, 4, 17])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_projection_is_torchs_own(time, dtype):
    """Of ``nn.LSTM(proj_size=…)``, each row alone: h has the projection's channels, c the cells'; no frames leave both."""
    torch.manual_seed(0)
    layer = torch.nn.LSTM(5, 6, proj_size=3, batch_first=True, dtype=dtype)
    weights, projection = [getattr(layer, name) for name in NAMES], layer.weight_hr_l0
    lengths = torch.tensor([time, time // 2, 0])
    x = torch.randn(3, time, 5, dtype=dtype)
    h0, c0 = torch.randn(3, 3, dtype=dtype), torch.randn(3, 6, dtype=dtype)
    tolerance = {"rtol": 0, "atol": 1e-12 if dtype == torch.float64 else 1e-6}
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            poisoned = x.masked_fill((torch.arange(time) >= lengths[:, None])[..., None], torch.nan)
            y, (h, c) = dense_lstm(poisoned, *weights, (h0, c0), lengths, projection)
            whole, (last, cell) = dense_lstm(x, *weights, (h0, c0), projection=projection)
            for row, length in enumerate(lengths.tolist()):
                if length == 0:
                    assert torch.equal(h[row], h0[row]) and torch.equal(c[row], c0[row]) and not y[row].any()
                    continue
                given = h0[None, row : row + 1], c0[None, row : row + 1]
                expected, (h_last, c_last) = layer(x[row : row + 1, :length], given)
                torch.testing.assert_close(y[row, :length], expected[0], **tolerance)
                assert not y[row, length:].any()
                torch.testing.assert_close(h[row], h_last[0, 0], **tolerance)
                torch.testing.assert_close(c[row], c_last[0, 0], **tolerance)
            full, (h_full, c_full) = layer(x, (h0[None], c0[None]))
            for got, wanted in ((whole, full), (last, h_full[0]), (cell, c_full[0])):
                torch.testing.assert_close(got, wanted, **tolerance)
    used = [*weights, projection]
    for got, wanted in zip(*(torch.autograd.grad(out.square().sum(), used) for out in (whole, full)), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=tolerance["atol"] * 100)


@pytest.mark.skipif(not WIDE, reason="no native kernel serves this processor")
@pytest.mark.parametrize("rows, native", [(3, True), (12, False)])
def test_training_in_bfloat16_is_near_float32_by_either_kernel(rows, native, monkeypatch):
    """Few rows the native kernel trains, many oneDNN."""
    called, kernel = [], dense_module.native.lstm
    monkeypatch.setattr(dense_module.native, "lstm", lambda *arguments: called.append(1) or kernel(*arguments))
    _, weights = layer_of("lstm", torch.float32)
    x, lengths = torch.randn(rows, 17, 5, requires_grad=True), torch.arange(rows) % 18
    x.data[torch.arange(17) >= lengths[:, None]] = torch.nan
    states, given = torch.randn(2, rows, 6).unbind(), [x, *weights]
    expected = weighed(*dense("lstm", x, weights, states, lengths=lengths))
    with torch.autocast("cpu", torch.bfloat16):
        y, last = dense("lstm", x, weights, states, lengths=lengths)
    assert bool(called) is native and y.dtype is torch.bfloat16 and not y[lengths == 0].any()
    for got, wanted in zip(*(torch.autograd.grad(t, given) for t in (weighed(y, last), expected)), strict=True):
        assert (got - wanted).norm() < 0.02 * wanted.norm()


@pytest.mark.skipif(not WIDE, reason="no native kernel serves this processor")
def test_the_states_after_every_frame_are_those_of_layers_that_end_there():
    _, weights = layer_of("lstm", torch.float32)
    x, lengths = torch.randn(3, 9, 5, requires_grad=True), torch.tensor([9, 4, 0])
    x.data[torch.arange(9) >= lengths[:, None]] = torch.nan
    given = [x, *weights, *torch.randn(2, 3, 6, requires_grad=True)]
    got = dense_lstm_states(x, *weights, given[5:], lengths)
    ends = [dense_lstm(x, *weights, given[5:], lengths.clamp(max=t + 1))[1] for t in range(9)]
    there = (torch.arange(9) < lengths[:, None])[..., None]
    expected = [torch.stack(state, 1) * there for state in zip(*ends, strict=True)]
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    factors = torch.randn(2, 3, 9, 6)  # c has a gradient of its own at every frame
    loss, wanted = (
        sum((s * factor).sum() for s, factor in zip(states, factors, strict=True)) for states in (got, expected)
    )
    for a, b in zip(*(torch.autograd.grad(t, given) for t in (loss, wanted)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
