"""The selective scan: gradients checked numerically, cut or whole, rows of their own length, float32 inside bfloat16."""

import pytest
import torch
from audiorec_kernels.selective_scan import selective_scan

NAMES = ("u", "dt", "A", "B", "C", "D", "z", "dt_bias", "initial_state")
OVER_TIME = ("u", "dt", "B", "C", "z")


def inputs(batch: int, time: int, dtype: torch.dtype = torch.float64) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    channels, states = 3, 2
    sizes = [(batch, time, channels)] * 2 + [(channels, states)] + [(batch, time, states)] * 2
    sizes += [(channels,), (batch, time, channels), (channels,), (batch, channels, states)]
    values = {name: torch.randn(*size).to(dtype) for name, size in zip(NAMES, sizes, strict=True)}
    return values | {"A": -values["A"].exp()}


def scan(values: dict[str, torch.Tensor], **options) -> tuple[torch.Tensor, torch.Tensor]:
    return selective_scan(**values, **options)


@pytest.mark.parametrize("softplus", [True, False])
def test_gradients(softplus):
    values = inputs(2, 4)

    def function(*leaves):
        return scan(dict(zip(NAMES, leaves, strict=True)), dt_softplus=softplus, lengths=torch.tensor([4, 2]))

    assert torch.autograd.gradcheck(function, [values[name].requires_grad_() for name in NAMES])


def test_cut_in_two_with_gradients():
    values = {name: value.requires_grad_() for name, value in inputs(2, 9).items()}

    def part(start: int, end: int, state: torch.Tensor):
        cut = {name: value[:, start:end] if name in OVER_TIME else value for name, value in values.items()}
        return scan(cut | {"initial_state": state})

    whole, last = scan(values)
    a, state = part(0, 4, values["initial_state"])
    b, state = part(4, 9, state)
    torch.testing.assert_close(torch.cat([a, b], 1), whole)
    torch.testing.assert_close(state, last)
    for pieces, expected in zip(
        torch.autograd.grad(b.square().sum() + state.sum(), list(values.values())),
        torch.autograd.grad(whole[:, 4:].square().sum() + last.sum(), list(values.values())),
        strict=True,
    ):
        torch.testing.assert_close(pieces, expected)


def test_rows_stop_at_their_own_length():
    values = inputs(3, 7)
    lengths = torch.tensor([7, 3, 0])
    for name in OVER_TIME:
        values[name][torch.arange(7) >= lengths[:, None]] = torch.nan
    y, state = scan(values, lengths=lengths)
    assert torch.equal(state[2], values["initial_state"][2]) and not y[2].any() and not y[1, 3:].any()
    for row in (0, 1):
        shared = {name: value for name, value in values.items() if name in ("A", "D", "dt_bias")}
        alone = {name: value[row : row + 1] for name, value in values.items() if name not in shared}
        alone |= {name: value[:, : lengths[row]] for name, value in alone.items() if name in OVER_TIME}
        y1, state1 = scan(shared | alone)
        torch.testing.assert_close(y[row, : lengths[row]], y1[0])
        torch.testing.assert_close(state[row], state1[0])


def test_half_precision_inputs_are_scanned_in_float32():
    values = inputs(2, 20, torch.bfloat16)
    exact, exact_state = scan({name: value.float() for name, value in values.items()})
    with torch.autocast("cpu", torch.bfloat16):
        y, state = scan(values)
    assert y.dtype == torch.bfloat16 and state.dtype == torch.float32
    assert torch.equal(state, exact_state) and torch.equal(y, exact.bfloat16())
