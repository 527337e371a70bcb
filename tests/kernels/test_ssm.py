"""The selective scan: gradients of its definition checked numerically, float32 under autocast, extreme steps, bad shapes."""

import pytest
import torch
from audiorec_kernels import backend
from audiorec_kernels.ssm import selective_scan, selective_scan_step

BACKENDS = ("reference", "native")


def inputs(
    batch: int, time: int, dtype: torch.dtype = torch.float32, channels: int = 3, states: int = 2
) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    sizes = {"u": (batch, time, channels), "dt": (batch, time, channels), "A": (channels, states)}
    sizes |= {"B": (batch, time, states), "C": (batch, time, states), "D": (channels,), "z": (batch, time, channels)}
    sizes |= {"dt_bias": (channels,), "initial_state": (batch, channels, states)}
    values = {name: torch.randn(*size).to(dtype) for name, size in sizes.items()}
    return values | {"A": -values["A"].exp()}


@pytest.mark.parametrize("softplus", [True, False])
def test_gradients(softplus):
    values = inputs(2, 4, torch.float64)
    reset = torch.tensor([[False, False, True, False], [True, True, False, True]])

    def function(*leaves):
        given = dict(zip(values, leaves, strict=True))
        return selective_scan(**given, dt_softplus=softplus, lengths=torch.tensor([4, 2]), reset=reset)

    assert torch.autograd.gradcheck(function, [value.requires_grad_() for value in values.values()])


@pytest.mark.parametrize("served", BACKENDS)
def test_autocast_leaves_the_state_in_float32(served):
    values = inputs(2, 20, torch.bfloat16)
    with backend(served):
        exact, exact_state = selective_scan(**{name: value.float() for name, value in values.items()})
        with torch.autocast("cpu", torch.bfloat16):
            y, state = selective_scan(**values)
    assert y.dtype == torch.bfloat16 and state.dtype == torch.float32
    assert torch.equal(state, exact_state) and torch.equal(y, exact.bfloat16())


@pytest.mark.parametrize("served", BACKENDS)
@pytest.mark.parametrize("without", [(), ("D", "z", "dt_bias", "initial_state")], ids=["", "bare"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_frame_is_a_scan_of_one(served, without, dtype):
    values = {name: value for name, value in inputs(2, 1, dtype).items() if name not in without}
    frame = {name: value[:, 0] if name in ("u", "dt", "B", "C", "z") else value for name, value in values.items()}
    with backend(served):
        y, state = selective_scan(**values)
        with torch.no_grad():
            results = [selective_scan_step(**frame)]
        results.append(selective_scan_step(**{name: value.requires_grad_() for name, value in frame.items()}))
    assert results[1][0].requires_grad and results[1][1].requires_grad
    for y1, state1 in results:
        torch.testing.assert_close(y1, y[:, 0])
        torch.testing.assert_close(state1, state)


def test_one_frame_is_read_where_it_stands():
    """Halves of a projection, as Mamba has them, of several rows."""
    values = inputs(3, 1, channels=21, states=16)
    y, state = selective_scan(**values)
    frame = {name: value[:, 0] if name in ("u", "dt", "B", "C", "z") else value for name, value in values.items()}
    for a, b in (("B", "C"), ("u", "z")):
        frame[a], frame[b] = torch.cat([frame[a], frame[b]], 1).chunk(2, 1)
    y1, state1 = selective_scan_step(**frame)
    assert torch.equal(y1, y[:, 0]) and torch.equal(state1, state)


@pytest.mark.parametrize("states", [1, 16, 37])
def test_one_frame_keeps_lengths_and_resets(states):
    """Without a gradient the native scan takes one frame in another way than many."""
    values = inputs(3, 1, torch.float64, 21, states)
    rest = {"lengths": torch.tensor([1, 0, 1]), "reset": torch.tensor([[False], [True], [True]])}
    y, state = selective_scan(**values, **rest)
    with backend("native"), torch.no_grad():
        y1, state1 = selective_scan(**{name: value.float() for name, value in values.items()}, **rest)
    torch.testing.assert_close(y1, y.float())
    torch.testing.assert_close(state1, state.float())
    assert torch.equal(state1[1], values["initial_state"][1].float())


@pytest.mark.parametrize("served", BACKENDS)
def test_steps_from_none_to_endless(served):
    """A step of 0 holds the state, a long one forgets it, and what is not a number stays in its channel."""
    values = {name: value for name, value in inputs(1, 1).items() if name not in ("D", "z", "dt_bias")}
    values["dt"] = torch.tensor([[[0.0, 1e9, torch.nan]]])
    with backend(served):
        y, state = selective_scan(**values, dt_softplus=False)
    assert torch.equal(state[0, 0], values["initial_state"][0, 0])
    torch.testing.assert_close(state[0, 1], 1e9 * values["B"][0, 0] * values["u"][0, 0, 1])
    assert state[0, 2].isnan().all() and y[0, 0, 2].isnan() and not y[0, 0, :2].isnan().any()


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("A", (3, 4), r"B must be \(B = 2, T = 5, N = 4\), got \(2, 5, 2\)"),
        ("z", (2, 5, 4), r"z must be \(B = 2, T = 5, D = 3\), got \(2, 5, 4\)"),
        ("dt_bias", (3, 1), r"dt_bias must be \(D = 3\), got \(3, 1\)"),
        ("initial_state", (3, 2), r"initial_state must be"),
    ],
)
def test_shapes_that_disagree_are_named(name, size, message):
    with pytest.raises(ValueError, match="selective_scan: " + message):
        selective_scan(**inputs(2, 5) | {name: torch.zeros(size)})
