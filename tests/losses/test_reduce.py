"""Sums over rows: those without a path are left out and counted, a NaN stays a NaN."""

import pytest
import torch

from audiorec.losses import mean_per_token, sum_losses


@pytest.mark.parametrize("bad", [torch.nan, -torch.inf])
def test_only_plus_infinity_is_left_out(bad):
    losses, lengths = torch.tensor([1.0, bad, torch.inf]), torch.tensor([1, 1, 1])
    mean, dropped = mean_per_token(losses, lengths)
    assert not torch.isfinite(mean) and dropped == 1


def test_a_sum_is_that_of_losses_and_of_tokens():
    losses = torch.tensor([[3.0, torch.inf, 0.5], [1.0, 2.0, 3.0]], requires_grad=True)  # two heads
    loss, tokens, dropped = sum_losses(losses, torch.tensor([4, 7, 0]))  # an empty text is one token
    assert loss.tolist() == [3.5, 6.0] and tokens.tolist() == [5, 12] and dropped.tolist() == [1, 0]
    loss.sum().backward()
    assert losses.grad.tolist() == [[1, 0, 1], [1, 1, 1]]


def test_rows_of_no_path_alone_have_mean_0_and_are_counted():
    mean, dropped = mean_per_token(torch.tensor([torch.inf, torch.inf]), torch.tensor([2, 3]))
    assert mean == 0 and dropped == 2
