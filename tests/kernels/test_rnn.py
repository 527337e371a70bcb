"""The head-wise LSTM and GRU against torch's own head by head; cut or whole, ragged, reset, narrow inputs."""

import pytest
import torch
from audiorec_kernels.rnn import gru, lstm

GATES = {"lstm": 4, "gru": 3}
kinds = pytest.mark.parametrize("kind", GATES)


def inputs(kind: str, time: int, heads: int = 2, dim: int = 3, dtype: torch.dtype = torch.float64) -> dict:
    """Three rows and their states, all of them wanting gradients."""
    torch.manual_seed(0)
    gates = GATES[kind]
    sizes = {"wx": (3, time, gates, heads, dim), "R": (heads, dim, gates, dim), "b": (gates, heads, dim)}
    sizes |= {"b_n": (heads, dim)} if kind == "gru" else {}
    sizes |= {"h": (3, heads, dim)} | ({"c": (3, heads, dim)} if kind == "lstm" else {})
    return {name: torch.randn(size).to(dtype).requires_grad_() for name, size in sizes.items()}


def run(kind: str, values: dict, **options) -> tuple[torch.Tensor, ...]:
    """(y, h) or (y, h, c)."""
    if kind == "lstm":
        y, state = lstm(values["wx"], values["R"], values["b"], (values["h"], values["c"]), **options)
        return y, *state
    return gru(values["wx"], values["R"], values["b"], values["b_n"], values["h"], **options)


def torch_own(kind: str, values: dict) -> tuple[torch.Tensor, ...]:
    """Head by head through torch.lstm or torch.gru, whose input projection is made the identity."""
    gates, outputs = GATES[kind], []
    for head in range(values["wx"].shape[3]):
        x = values["wx"][:, :, :, head].flatten(2)
        eye, matrix = torch.eye(x.shape[2], dtype=x.dtype), values["R"][head].flatten(1).T
        inside = torch.zeros_like(values["b"][:, head])
        if kind == "gru":
            inside = torch.cat([inside[:2], values["b_n"][head][None]])
        weights = [eye, matrix, values["b"][:, head].flatten(), inside.flatten()]
        state = [values[name][:, head][None] for name in ("h", "c") if name in values]
        if gates == 4:
            outputs.append(torch.lstm(x, state, weights, True, 1, 0.0, False, False, True))
        else:
            outputs.append(torch.gru(x, state[0], weights, True, 1, 0.0, False, False, True))
    y, *states = zip(*outputs, strict=True)
    return torch.stack(y, 2), *(torch.cat(s).transpose(0, 1) for s in states)


def weighed(outputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
    return sum((x.square() * (i + 1)).sum() for i, x in enumerate(outputs))


def assert_same_gradients(got: torch.Tensor, expected: torch.Tensor, values: dict) -> None:
    leaves = list(values.values())
    for a, b in zip(torch.autograd.grad(got, leaves), torch.autograd.grad(expected, leaves), strict=True):
        torch.testing.assert_close(a, b)


@kinds
@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("time", [1, 7])
def test_each_head_is_torchs_own(kind, heads, time):
    values = inputs(kind, time, heads)
    got, expected = run(kind, values), torch_own(kind, values)
    torch.testing.assert_close(got, expected)
    assert_same_gradients(weighed(got), weighed(expected), values)


@kinds
def test_rows_stop_at_their_own_length(kind):
    values, lengths = inputs(kind, 6), torch.tensor([6, 2, 0])
    past = (torch.arange(6) >= lengths[:, None])[..., None, None, None]
    y, *states = run(kind, values | {"wx": values["wx"].masked_fill(past, torch.nan)}, lengths=lengths)
    assert torch.equal(states[0][2], values["h"][2]) and not y.masked_select(past[..., 0]).any()
    expected = sum(values[name][2].square().sum() * (i + 2) for i, name in enumerate(["h", "c"][: len(states)]))
    for row, n in ((0, 6), (1, 2)):
        alone = {name: x[row : row + 1] if name in ("wx", "h", "c") else x for name, x in values.items()}
        y1, *states1 = run(kind, alone | {"wx": alone["wx"][:, :n]})
        torch.testing.assert_close((y[row, :n], *(s[row] for s in states)), (y1[0], *(s[0] for s in states1)))
        expected = expected + weighed((y1, *states1))
    assert_same_gradients(weighed((y, *states)), expected, values)


@kinds
def test_a_reset_begins_anew(kind):
    values = inputs(kind, 5)
    reset = torch.zeros(3, 5, dtype=torch.bool)
    reset[:, 2] = True
    got = run(kind, values, reset=reset)
    first = run(kind, values | {"wx": values["wx"][:, :2]})
    zeros = {name: torch.zeros_like(values[name]) for name in ("h", "c") if name in values}
    second = run(kind, values | zeros | {"wx": values["wx"][:, 2:]})
    expected = torch.cat([first[0], second[0]], 1), *second[1:]
    torch.testing.assert_close(got, expected)
    assert_same_gradients(weighed(got), weighed(expected), values)


@kinds
def test_cut_in_two_with_gradients(kind):
    values = inputs(kind, 7)
    whole = run(kind, values)
    first, *state = run(kind, values | {"wx": values["wx"][:, :4]})
    carried = dict(zip(("h", "c"), state, strict=False))
    second, *last = run(kind, values | carried | {"wx": values["wx"][:, 4:]})
    pieces = torch.cat([first, second], 1), *last
    torch.testing.assert_close(pieces, whole)
    assert_same_gradients(weighed(pieces), weighed(whole), values)


@kinds
def test_no_frames_keep_the_state(kind):
    values = inputs(kind, 0)
    y, *states = run(kind, values)
    assert y.shape == (3, 0, 2, 3) and torch.equal(states[0], values["h"])


@kinds
def test_half_precision_inputs_are_run_in_float32(kind):
    values = inputs(kind, 20, dtype=torch.bfloat16)
    exact, *exact_states = run(kind, {name: x.float() for name, x in values.items()})
    with torch.autocast("cpu", torch.bfloat16):
        y, *states = run(kind, values)
    assert y.dtype == torch.bfloat16 and states[0].dtype == torch.float32
    torch.testing.assert_close(states, exact_states)
    torch.testing.assert_close(y, exact.bfloat16())


@kinds
@pytest.mark.parametrize("name, shape", [("R", (2, 3, 2, 3)), ("b", (4, 3)), ("b", (2, 2, 3))])
def test_a_wrong_shape_is_named(kind, name, shape):
    values = inputs(kind, 4)
    with pytest.raises(ValueError, match=rf"{kind}: .*{name} must be"):
        run(kind, values | {name: torch.zeros(shape, dtype=torch.float64)})


@pytest.mark.parametrize("kind, other", [("lstm", "gru"), ("gru", "lstm")])
def test_a_wrong_number_of_gates_is_named(kind, other):
    values = inputs(kind, 4) | {name: inputs(other, 4)[name] for name in ("wx", "R", "b")}
    with pytest.raises(ValueError, match=rf"{kind}: wx must be \(B, T, {GATES[kind]}, H, D\)"):
        run(kind, values)
