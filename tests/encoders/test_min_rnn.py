"""minGRU and minLSTM: one call over all frames against the paper's equations frame by frame, and precision over long ones."""

import pytest
import torch

from audiorec.encoders import build
from audiorec.encoders.min_rnn import MinGru, MinLstm

CELLS = pytest.mark.parametrize("cell", [MinGru, MinLstm])


def frame_by_frame(layer, x: torch.Tensor) -> torch.Tensor:
    """Feng et al. 2024, sequential mode, of one row (T, C)."""
    h, outputs = torch.zeros(layer.output_dim, dtype=x.dtype), []
    for frame in x:
        parts = layer.inputs(frame).split(layer.output_dim)
        if isinstance(layer, MinGru):
            z, candidate = parts[0].sigmoid(), parts[1]
            h = (1 - z) * h + z * candidate
        else:
            f, i, candidate = parts[0].sigmoid(), parts[1].sigmoid(), parts[2]
            h = f / (f + i) * h + i / (f + i) * candidate
        outputs.append(h)
    return torch.stack(outputs)


@CELLS
def test_all_frames_at_once_are_the_frames_one_by_one(cell):
    torch.manual_seed(0)
    layer = cell(4, 6).double()
    lengths = torch.tensor([50, 23, 1])
    x = torch.randn(3, 50, 4, dtype=torch.float64)
    y, _, state = layer.step(x, lengths, layer.initial_state(3, ragged=True))
    expected = [frame_by_frame(layer, row[:n]) for row, n in zip(x, lengths.tolist(), strict=True)]
    for row, n in enumerate(lengths.tolist()):
        torch.testing.assert_close(y[row, :n], expected[row])
        torch.testing.assert_close(state["h"][row], expected[row][-1])
    parameters = list(layer.parameters())
    for a, b in zip(
        torch.autograd.grad(y.square().sum(), parameters),
        torch.autograd.grad(sum(row.square().sum() for row in expected), parameters),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@CELLS
def test_float32_stays_near_float64_over_10000_frames(cell):
    torch.manual_seed(0)
    layer, x = cell(4, 8), torch.randn(1, 10_000, 4)
    with torch.inference_mode():
        y, _ = layer(x, torch.tensor([10_000]))
        exact, _ = layer.double()(x.double(), torch.tensor([10_000]))
    assert (y - exact).abs().max() <= 2e-6 * exact.abs().max()


@CELLS
def test_cells_start_with_memories_from_2_to_64_frames(cell):
    torch.manual_seed(0)
    layer = cell(4, 500)
    *gates, _ = layer.inputs.bias.split(500)
    frames = 1 / layer.logit(*gates).sigmoid()
    assert 1.9 < frames.min() < 2.2 and 60 < frames.max() < 64.1
    assert 9 < frames.median() < 14  # log-uniform: the middle is at √(2 · 64)


@pytest.mark.parametrize("kind", ["min_gru", "min_lstm"])
def test_a_frame_reaches_all_later_ones_and_no_earlier_one(kind):
    torch.manual_seed(0)
    model = build({"kind": kind, "dim": 6, "layers": 2, "strides": [1], "dropout": 0.0}, 7).double()
    x = torch.randn(1, 20, 7, dtype=torch.float64, requires_grad=True)
    y, _ = model(x, torch.tensor([20]))
    reached = torch.stack(
        [torch.autograd.grad(frame.sum(), x, retain_graph=True)[0][0].abs().sum(1) for frame in y[0] ** 3]
    )
    assert (reached.tril() > 0).equal(torch.ones(20, 20).tril() > 0) and not reached.triu(1).any()
