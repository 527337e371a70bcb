"""CTC loss against the sum over all paths, and rows that have none."""

from itertools import groupby, product

import pytest
import torch

from audiorec.losses import ctc_loss, mean_per_token


def brute_force(log_probs: torch.Tensor, tokens: list[int]) -> torch.Tensor:
    """−log of the summed probability of every path that collapses to the tokens."""
    paths = [
        sum(log_probs[t, symbol] for t, symbol in enumerate(path))
        for path in product(range(log_probs.shape[1]), repeat=len(log_probs))
        if [symbol for symbol, _ in groupby(path) if symbol] == tokens
    ]
    return -torch.logsumexp(torch.stack(paths), 0)


@pytest.mark.parametrize("tokens", [[], [1], [2, 1], [1, 1], [1, 2, 1]])
def test_is_the_sum_over_all_paths(tokens):
    torch.manual_seed(0)
    log_probs = torch.randn(1, 5, 3, dtype=torch.float64).log_softmax(-1).requires_grad_()
    target = torch.tensor([[*tokens, 0]])
    loss = ctc_loss(log_probs, torch.tensor([5]), target, torch.tensor([len(tokens)]))
    expected = brute_force(log_probs[0], tokens)
    torch.testing.assert_close(loss[0], expected)


def test_rows_without_a_path_are_infinite_left_out_and_have_no_gradient():
    x = torch.randn(4, 3, 3, requires_grad=True)
    tokens = torch.tensor([[1, 2, 0], [1, 1, 0], [1, 1, 1], [0, 0, 0]])
    losses = ctc_loss(x.log_softmax(-1), torch.tensor([3, 3, 3, 0]), tokens, torch.tensor([2, 2, 3, 0]))
    assert torch.isfinite(losses).tolist() == [True, True, False, True] and losses[2] == torch.inf and losses[3] == 0
    mean, left_out = mean_per_token(losses, torch.tensor([2, 2, 3, 0]))
    torch.testing.assert_close(mean, (losses[0] + losses[1]) / (2 + 2 + 1))  # the empty text is one token
    mean.backward()
    assert left_out == 1 and torch.isfinite(x.grad).all() and not x.grad[2].any() and x.grad[0].any()
    nothing, count = mean_per_token(losses[2:3], torch.tensor([3]))
    assert nothing == 0 and count == 1
