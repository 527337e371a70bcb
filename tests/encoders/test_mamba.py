"""The Mamba block against a plain loop written from the paper, its initialisation, and what its config refuses."""

import math

import numpy as np
import pytest
import torch

from audiorec.encoders import build
from audiorec.encoders.mamba import Mamba
from audiorec.errors import ConfigError


def from_the_paper(block: Mamba, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gu and Dao 2023, section 3.4 and algorithm 2, frame by frame and channel by channel: x (T, C) → y (T, D), h."""
    weights = {name: value.detach().numpy() for name, value in block.named_parameters()}
    rank, states, _ = block.sizes
    channels = len(weights["D"])
    a = -np.exp(weights["A_log"])
    taps = weights["conv.weight"][:, 0]
    past = np.zeros((taps.shape[1], channels))
    h = np.zeros((channels, states))
    outputs = []
    for frame in x:
        projected = weights["in_proj.weight"] @ frame
        past = np.concatenate([past[1:], projected[None, :channels]])
        gate = projected[channels:]
        u = weights["conv.bias"] + (past * taps.T).sum(0)
        u = u / (1 + np.exp(-u))
        selected = weights["x_proj.weight"] @ u
        b, c = selected[rank : rank + states], selected[rank + states :]
        dt = np.log1p(np.exp(weights["dt_proj.weight"] @ selected[:rank] + weights["dt_proj.bias"]))
        y = np.zeros(channels)
        for e in range(channels):
            h[e] = np.exp(dt[e] * a[e]) * h[e] + dt[e] * b * u[e]
            y[e] = c @ h[e] + weights["D"][e] * u[e]
        outputs.append(weights["out_proj.weight"] @ (y * gate / (1 + np.exp(-gate))))
    return np.stack(outputs), h


@pytest.mark.parametrize("options", [{}, {"state_size": 5, "expand": 3, "kernel": 2, "dt_rank": 3}], ids=["", "other"])
def test_the_block_is_the_papers(options):
    torch.manual_seed(0)
    block = Mamba(6, 4, **options).double()
    lengths = torch.tensor([12, 5])
    x = torch.randn(2, 12, 6, dtype=torch.float64)
    with torch.no_grad():
        y, _, state = block.step(x, lengths, block.initial_state(2, ragged=True))
    for row, n in enumerate(lengths.tolist()):
        expected, h = from_the_paper(block, x[row, :n].numpy())
        np.testing.assert_allclose(y[row, :n], expected, atol=1e-12)
        np.testing.assert_allclose(state["ssm"][row], h, atol=1e-12)


def test_it_begins_as_the_paper_says():
    torch.manual_seed(0)
    block = Mamba(64, 64)
    a = -torch.exp(block.A_log)
    torch.testing.assert_close(a, -torch.arange(1.0, 17).expand(128, 16))
    dt = torch.nn.functional.softplus(block.dt_proj.bias)
    assert dt.min() > 0.0009 and dt.max() < 0.101
    assert abs(dt.log().mean() - (math.log(1e-3) + math.log(1e-1)) / 2) < 0.4  # log-uniform, not uniform


def test_the_decays_take_no_weight_decay():
    marked = {name for name, p in Mamba(6, 6).named_parameters() if getattr(p, "_no_weight_decay", False)}
    assert marked == {"A_log", "D", "dt_proj.bias"}


def test_the_default_is_of_a_size_with_the_other_encoders():
    encoder = build({"kind": "mamba"}, 80)
    assert 2e6 < sum(p.numel() for p in encoder.parameters()) < 4e6
    assert (encoder.stride, encoder.lookahead) == (4, 3)


def test_both_ways_with_all_of_the_rest_in_sight_is_the_full_one():
    options = {"kind": "mamba", "dim": 6, "layers": 2, "state_size": 3, "dropout": 0.0, "bidirectional": True}
    windows, full = build(options | {"chunk": 3, "look_ahead": 20}, 5).double(), build(options | {"chunk": None}, 5)
    full.load_state_dict(windows.state_dict())
    x, lengths = torch.randn(2, 60, 5, dtype=torch.float64), torch.tensor([60, 33])
    torch.testing.assert_close(windows(x, lengths)[0], full.double()(x, lengths)[0])


def test_bad_options_are_named():
    with pytest.raises(ConfigError, match=r"encoder\.state_size"):
        build({"kind": "mamba", "state_size": 0}, 80)
