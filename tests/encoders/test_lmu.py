"""Legendre memories: the equations integrated densely, delays read out of m, theta in seconds, what configs refuse."""

import math

import numpy as np
import pytest
import torch
from audiorec_kernels.lti import lti_scan
from numpy.polynomial.legendre import legvander

from audiorec.encoders import build
from audiorec.encoders.lmu import Lmu, legendre_memory
from audiorec.errors import ConfigError


def integrate(u: np.ndarray, order: int, theta: float, steps: int = 100) -> np.ndarray:
    """θ m' = a m + b u of Voelker et al. 2019 by Runge and Kutta, u (T, K) held for a frame: m (T, K, order)."""
    a, b = np.zeros((order, order)), np.zeros(order)
    for i in range(order):
        b[i] = (2 * i + 1) * (-1) ** i
        for j in range(order):
            a[i, j] = (2 * i + 1) * (-1 if i < j else (-1) ** (i - j + 1))
    m, outputs, h = np.zeros((u.shape[1], order)), [], 1 / steps
    for frame in u:
        for _ in range(steps):
            k1 = (m @ a.T + frame[:, None] * b) / theta
            k2 = ((m + h / 2 * k1) @ a.T + frame[:, None] * b) / theta
            k3 = ((m + h / 2 * k2) @ a.T + frame[:, None] * b) / theta
            k4 = ((m + h * k3) @ a.T + frame[:, None] * b) / theta
            m = m + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        outputs.append(m)
    return np.stack(outputs)


def test_the_layer_is_the_papers_equations():
    torch.manual_seed(0)
    layer = Lmu(5, channels=3, order=6, theta=7.5).double()
    lengths = torch.tensor([20, 9])
    x = torch.randn(2, 20, 5, dtype=torch.float64)
    with torch.no_grad():
        y, _, state = layer.step(x, lengths, layer.initial_state(2, ragged=True))
    weights = {name: value.detach().numpy() for name, value in layer.named_parameters()}
    for row, n in enumerate(lengths.tolist()):
        frames = x[row, :n].numpy()
        m = integrate(frames @ weights["signals.weight"].T + weights["signals.bias"], 6, 7.5)
        h = m.reshape(n, -1) @ weights["from_memory.weight"].T + weights["from_memory.bias"]
        h = h + frames @ weights["from_input.weight"].T
        gelu = h / 2 * (1 + np.vectorize(math.erf)(h / math.sqrt(2)))
        np.testing.assert_allclose(state["memory"][row], m[-1], atol=1e-6)  # A and B are kept in float32
        np.testing.assert_allclose(y[row, :n], gelu, atol=1e-6)


@pytest.mark.parametrize(("theta", "order", "error"), [(20, 12, 0.02), (50, 12, 0.02), (100, 12, 0.01), (50, 8, 0.1)])
def test_every_delay_within_theta_can_be_read_out(theta, order, error):
    """u(t − τ) = Σ P_i(2τ/θ − 1) m_i(t) for a signal of up to two cycles in theta, to ``error`` of its peak."""
    random, time = np.random.default_rng(0), np.arange(5 * theta)
    u = sum(np.sin(2 * np.pi * c * time / theta + random.uniform(0, 6)) for c in (0.2, 0.8, 1.4, 2.0))
    u /= np.abs(u).max()
    m, _ = lti_scan(torch.tensor(u)[None, :, None], *legendre_memory(order, theta))
    delays = np.arange(theta)
    read = m[0, :, 0].numpy() @ legvander(2 * (delays + 0.5) / theta - 1, order - 1).T  # the middle of the held frame
    later = time[2 * theta :]
    assert np.abs(read[later] - u[later[:, None] - delays]).max() < error


def test_theta_is_in_seconds_and_of_each_layer():
    encoder = build({"kind": "lmu", "dim": 8, "layers": 2, "order": 4, "theta": [0.4, 1.2], "strides": [3]}, 7)
    layers = [module for module in encoder.modules() if isinstance(module, Lmu)]
    for layer, frames in zip(layers, (0.4 / 0.03, 1.2 / 0.03), strict=True):
        torch.testing.assert_close(layer.A.double(), legendre_memory(4, frames)[0], rtol=0, atol=1e-7)


@pytest.mark.parametrize("arrangement", ["plain", "lmuformer"])
def test_the_default_is_of_a_size_with_the_other_encoders(arrangement):
    encoder = build({"kind": "lmu", "arrangement": arrangement}, 80)
    assert 2e6 < sum(p.numel() for p in encoder.parameters()) < 4e6
    assert (encoder.stride, encoder.lookahead) == (4, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"theta": [0.1, 0.2], "layers": 3}, r"encoder\.theta: give one number, or one for each of the 3 layers"),
        ({"theta": 0}, r"encoder\.theta\.0"),
        ({"arrangement": "spiking"}, "'plain' or 'lmuformer'"),
        ({"expand": 3}, r"encoder\.expand: does nothing in arrangement plain"),
        ({"embedding_layers": 1}, r"encoder\.embedding_layers: does nothing in arrangement plain"),
    ],
    ids=["theta of two layers for three", "no time", "arrangement", "plain, expand", "plain, embedding"],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        build({"kind": "lmu", **options}, 80)
