"""ScaledAdam: the paper's formula in float64, and what it promises of a tensor's size."""

import numpy as np
import pytest
import torch

from audiorec.training.scaled_adam import ScaledAdam


def updated(weights: torch.Tensor, gradients: list[torch.Tensor], **options: float) -> torch.Tensor:
    parameter = torch.nn.Parameter(weights.clone())
    optimizer = ScaledAdam([parameter], **{"lr": 0.05, **options})
    for gradient in gradients:
        parameter.grad = gradient
        optimizer.step()
    return parameter.detach()


def by_the_paper(
    x: np.ndarray, gradients: list[np.ndarray], lr: float, b1: float = 0.9, b2: float = 0.98
) -> np.ndarray:
    """Yao et al. 2023, section 3.5: Adam times the size, and the size by a tenth of the rate."""
    m = v = n = w = 0.0
    for t, g in enumerate(gradients, 1):
        size, h = np.sqrt(np.mean(x**2)), np.sum(g * x)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        n, w = b1 * n + (1 - b1) * h, b2 * w + (1 - b2) * h**2
        correction = np.sqrt(1 - b2**t) / (1 - b1**t)
        x = x - lr * size * correction * m / np.sqrt(v) - 0.1 * lr * correction * n / np.sqrt(w) * x
    return x


@pytest.fixture
def case() -> tuple[torch.Tensor, list[torch.Tensor]]:
    random = torch.Generator().manual_seed(0)
    draw = lambda: torch.randn(4, 6, dtype=torch.float64, generator=random)  # noqa: E731
    return draw(), [draw() for _ in range(5)]


def test_it_is_the_papers(case):
    weights, gradients = case
    expected = by_the_paper(weights.numpy(), [g.numpy() for g in gradients], 0.05)
    np.testing.assert_allclose(updated(weights, gradients).numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("size", [1e-3, 100.0])
def test_a_tensor_of_another_size_moves_by_the_same_share(size, case):
    weights, gradients = case
    scaled = updated(weights * size, [gradient / size for gradient in gradients])
    torch.testing.assert_close(scaled / size, updated(weights, gradients), rtol=1e-4, atol=1e-5)


def test_zeros_grow_and_a_single_number_changes_its_sign(case):
    _, gradients = case
    assert updated(torch.zeros(4, 6, dtype=torch.float64), gradients).abs().min() > 0
    assert updated(torch.tensor([0.01]), [torch.tensor([1.0])] * 5) < 0


def test_weight_decay_shrinks_what_has_no_gradient():
    still = updated(torch.ones(3), [torch.zeros(3)] * 2, weight_decay=0.1)
    torch.testing.assert_close(still, torch.full((3,), (1 - 0.05 * 0.1) ** 2))
