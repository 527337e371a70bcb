"""Dropout by bytes: the share, the scale and the gradient of torch's own; nothing drawn outside training."""

import pytest
import torch

from audiorec.encoders.dropout import Dropout


@pytest.mark.parametrize("p", [0.1, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_drops_its_share_and_keeps_the_mean(p, dtype):
    torch.manual_seed(0)
    x = torch.ones(3, 1000, 101, dtype=dtype, requires_grad=True)
    y = Dropout(p)(x)
    dropped = y == 0
    assert y.dtype == dtype and dropped.float().mean().item() == pytest.approx(p, abs=0.004)
    assert y.float().mean().item() == pytest.approx(1, abs=0.01)
    # No place of a word, no frame and no row is favoured.
    for axis in (0, 1):
        assert (dropped.flatten(0, 1) if axis else dropped.flatten(1).T).float().mean(0).std() < 0.01 + 0.02 * axis
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def test_nothing_is_drawn_outside_training_or_at_zero():
    x = torch.randn(4, 5)
    before = torch.get_rng_state()
    assert torch.equal(Dropout(0.3).eval()(x), x) and torch.equal(Dropout(0.0)(x), x)
    assert torch.equal(torch.get_rng_state(), before)


def test_everything_may_be_dropped():
    assert not Dropout(1.0)(torch.ones(10)).any()
