"""Triton's kernels beyond the laws, under the interpreter: test_triton.py runs this file in such a process."""

import pytest
import torch
from audiorec_kernels import backend
from audiorec_kernels.lti import lti_scan
from audiorec_kernels.rnn import gru, lstm
from audiorec_kernels.selective_scan import selective_scan

from .families import INTERPRETED

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="TRITON_INTERPRET=1 is not set")


def draw(**sizes: tuple[int, ...]) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {name: torch.randn(size).requires_grad_() for name, size in sizes.items()}


def assert_same(got: tuple, expected: tuple, values: dict, exact: dict) -> None:
    """Values and gradients, within 1e-5 of the largest."""
    weights = [torch.randn_like(x) for x in got]
    gradients = [
        torch.autograd.grad(sum((x * w).sum() for x, w in zip(outputs, weights, strict=True)), list(leaves.values()))
        for outputs, leaves in ((got, values), (expected, exact))
    ]
    pairs = zip((*got, *gradients[0]), (*expected, *gradients[1]), ("y", "state", *values), strict=True)
    for a, b, name in pairs:
        assert ((a - b).abs().max() / b.abs().max().clamp(min=1e-3)).item() <= 1e-5, name


def double(values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: x.detach().double().requires_grad_() for name, x in values.items()}


@pytest.mark.parametrize("time, dim", [(1, 3), (3, 34), (17, 5), (70, 5)])
@pytest.mark.parametrize("gated", [False, True])
def test_selective_scan(time, dim, gated):
    from audiorec_kernels.selective_scan import triton

    over_time = {"u": (3, time, dim), "dt": (3, time, dim), "B": (3, time, 3), "C": (3, time, 3)}
    sizes = {**over_time, "A": (dim, 3), "dt_bias": (dim,), "initial_state": (3, dim, 3)}
    values = draw(**sizes, **({"D": (dim,), "z": (3, time, dim)} if gated else {}))
    with torch.no_grad():
        values["A"].exp_().neg_()
    lengths, exact = torch.tensor([time, (time + 1) // 2, 0]), double(values)
    options = {"D": None, "z": None, "lengths": lengths, "reset": None, "dt_softplus": True}
    got = triton.selective_scan(**options | values)
    assert_same(got, selective_scan(**exact, lengths=lengths), values, exact)


def test_selective_scan_begins_anew():
    from audiorec_kernels.selective_scan import triton

    sizes = {"u": (2, 17, 3), "dt": (2, 17, 3), "B": (2, 17, 2), "C": (2, 17, 2), "A": (3, 2)}
    values = draw(**sizes)
    exact, reset = double(values), torch.zeros(2, 17, dtype=torch.bool)
    reset[:, 9] = True
    options = {"D": None, "z": None, "dt_bias": None, "initial_state": None, "lengths": None, "dt_softplus": True}
    got = triton.selective_scan(**options | values, reset=reset)
    cuts = [{name: x if name == "A" else x[:, part] for name, x in exact.items()} for part in (slice(9), slice(9, 17))]
    (first, _), (second, last) = (selective_scan(**cut) for cut in cuts)
    assert_same(got, (torch.cat([first, second], 1), last), values, exact)


@pytest.mark.parametrize("time", [1, 17, 70])
@pytest.mark.parametrize("read_out", [False, True])
def test_lti_scan(time, read_out):
    from audiorec_kernels.lti import triton

    sizes = {"u": (3, time, 7), "A": (5, 5), "B": (5,), "initial_state": (3, 7, 5)}
    values = draw(**sizes, **({"C": (7, 2, 5)} if read_out else {}))
    with torch.no_grad():
        values["A"].mul_(0.3)
    lengths, exact = torch.tensor([time, (time + 1) // 2, 0]), double(values)
    got = triton.lti_scan(**{"C": None} | values, lengths=lengths, reset=None)
    assert_same(got, lti_scan(**exact, lengths=lengths), values, exact)


@pytest.mark.parametrize("function, gates", [(lstm, 4), (gru, 3)])
def test_a_bfloat16_rnn_frame_by_frame(function, gates, monkeypatch):
    """Its products are torch's, so that the interpreter does not spoil them; they and the outputs are rounded."""
    from audiorec_kernels.rnn import triton_common

    monkeypatch.setattr(triton_common, "_ON_CHIP", 0)
    values = draw(
        wx=(3, 20, gates, 2, 8), R=(2, 8, gates, 8), b=(gates, 2, 8), **({"b_n": (2, 8)} if gates == 3 else {})
    )
    with torch.no_grad():
        values["R"].mul_(8**-0.5)
    for name in ("wx", "R"):
        values[name] = values[name].detach().bfloat16().requires_grad_()
    lengths, reset, exact = torch.tensor([20, 0, 13]), torch.rand(3, 20) < 0.1, double(values)
    weights, found = torch.randn(3, 20, 2, 8), []
    for inputs, served in ((values, "triton"), (exact, "reference")):
        with backend(served):
            y, _ = function(**inputs, lengths=lengths, reset=reset)
            found.append((y, *torch.autograd.grad((y * weights.to(y)).sum(), list(inputs.values()))))
    for got, wanted, name in zip(*found, ("y", *values), strict=True):
        assert ((got - wanted).abs().max() / wanted.abs().max()).item() <= 2**-6, name
