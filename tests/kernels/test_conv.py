"""The causal depthwise convolution against a sum written out, rows of different lengths, cut or whole."""

import pytest
import torch
from audiorec_kernels.conv import causal_conv1d


@pytest.mark.parametrize("kernel", [1, 4])
@pytest.mark.parametrize("activation", [None, "silu"])
def test_each_row_is_the_sum_over_its_own_past(kernel, activation):
    torch.manual_seed(0)
    lengths = torch.tensor([9, 2, 0])
    x = torch.randn(3, 9, 5, dtype=torch.float64)
    weight, bias = torch.randn(5, kernel, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    before = torch.randn(3, kernel - 1, 5, dtype=torch.float64)
    poisoned = x.masked_fill((torch.arange(9) >= lengths[:, None])[..., None], torch.nan)
    y, state = causal_conv1d(poisoned, weight, bias, activation, before, lengths)
    for row, n in enumerate(lengths.tolist()):
        frames = torch.cat([before[row], x[row, :n]])
        for t in range(n):
            expected = bias + sum(weight[:, i] * frames[t + i] for i in range(kernel))
            expected = expected * torch.sigmoid(expected) if activation else expected
            torch.testing.assert_close(y[row, t], expected)
        assert not y[row, n:].any()
        assert torch.equal(state[row], frames[len(frames) - kernel + 1 :])


def test_cut_in_two_with_gradients():
    torch.manual_seed(0)
    inputs = [torch.randn(*size, dtype=torch.float64, requires_grad=True) for size in ((2, 9, 5), (5, 4), (5,))]
    x, weight, bias = inputs
    whole, last = causal_conv1d(x, weight, bias, "silu")
    a, state = causal_conv1d(x[:, :2], weight, bias, "silu")
    b, state = causal_conv1d(x[:, 2:], weight, bias, "silu", state)
    torch.testing.assert_close(torch.cat([a, b], 1), whole)
    assert torch.equal(state, last)
    for pieces, expected in zip(
        torch.autograd.grad(b.sum() + state.square().sum(), inputs),
        torch.autograd.grad(whole[:, 2:].sum() + last.square().sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(pieces, expected)


def test_a_row_of_no_frames_keeps_a_float32_state_under_bfloat16():
    before = torch.randn(1, 3, 5)
    lengths = torch.tensor([0])
    y, state = causal_conv1d(torch.randn(1, 2, 5).bfloat16(), torch.randn(5, 4), None, None, before, lengths)
    assert y.dtype == torch.bfloat16 and torch.equal(state, before)


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match="None or 'silu'"):
        causal_conv1d(torch.randn(1, 2, 5), torch.randn(5, 4), activation="relu")
