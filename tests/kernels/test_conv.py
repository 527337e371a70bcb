"""The causal depthwise convolution against its sum row by row: values, states and gradients, cut or whole."""

import pytest
import torch
import torch.nn.functional as F
from audiorec_kernels.conv import causal_conv1d

DIM = 3


def draw(kernel: int, rows: int, time: int) -> list[torch.Tensor]:
    """x, weight, bias and a state, all of them wanting gradients."""
    torch.manual_seed(0)
    shapes = (rows, time, DIM), (DIM, kernel), (DIM,), (rows, kernel - 1, DIM)
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize("activation", [None, "silu"])
@pytest.mark.parametrize("kernel, time", [(4, 9), (4, 1), (1, 5)])
def test_each_row_is_the_sum_over_its_own_frames(kernel, time, activation):
    x, weight, bias, state = draw(kernel, 3, time)
    lengths = torch.tensor([time, time // 2, 0])
    past = (torch.arange(time) >= lengths[:, None])[..., None]
    y, new = causal_conv1d(x.masked_fill(past, torch.nan), weight, bias, activation, state, lengths)
    total = 0
    for row, n in enumerate(lengths.tolist()):
        frames = torch.cat([state[row], x[row, :n]])
        for t in range(n):
            expected = bias + (weight.T * frames[t : t + kernel]).sum(0)
            expected = F.silu(expected) if activation else expected
            torch.testing.assert_close(y[row, t], expected)
            total = total + expected.square().sum()
        assert not y[row, n:].any()
        assert torch.equal(new[row], frames[n:])
        total = total + (frames[n:] ** 3).sum()
    gradients = torch.autograd.grad(y.square().sum() + (new**3).sum(), (x, weight, bias, state))
    for got, expected in zip(gradients, torch.autograd.grad(total, (x, weight, bias, state)), strict=True):
        torch.testing.assert_close(got, expected)


def test_two_calls_are_one():
    x, weight, bias, _ = draw(4, 2, 9)
    whole, last = causal_conv1d(x, weight, bias)
    first, state = causal_conv1d(x[:, :2], weight, bias)
    second, state = causal_conv1d(x[:, 2:], weight, bias, initial_state=state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    assert torch.equal(state, last)


def test_narrow_inputs_keep_a_float32_state():
    state = torch.randn(2, 3, DIM)
    x, weight = torch.randn(2, 5, DIM).bfloat16(), torch.randn(DIM, 4).bfloat16()
    y, new = causal_conv1d(x, weight, initial_state=state, lengths=torch.tensor([5, 0]))
    assert y.dtype == torch.bfloat16 and new.dtype == torch.float32
    assert torch.equal(new[1], state[1])


def test_an_unknown_activation_is_named():
    with pytest.raises(ValueError, match="None or 'silu', got 'relu'"):
        causal_conv1d(torch.zeros(1, 1, DIM), torch.zeros(DIM, 2), activation="relu")
