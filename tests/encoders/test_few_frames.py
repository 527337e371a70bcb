"""Whole rows of a few frames, as in a live stream, go frame by frame: the same values, gradients and dtypes as all at once."""

import pytest
import torch

from audiorec.encoders.lmu import Lmu
from audiorec.encoders.mamba import Mamba
from audiorec.encoders.min_rnn import MinGru, MinLstm

MIXERS = {
    "min_gru": lambda: MinGru(6, 9),
    "min_lstm": lambda: MinLstm(6, 9),
    "lmu": lambda: Lmu(6, 3, 4, 20.0),
    "mamba": lambda: Mamba(6, 9, state_size=3),
}
FRAMES = 20  # more than go frame by frame


def stream(mixer, x, size):
    state, parts = mixer.initial_state(len(x)), []
    for piece in x.split(size, 1):
        y, _, state = mixer.advance(piece, None, state)
        parts.append(y)
    return torch.cat(parts, 1), state


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("name", MIXERS)
def test_values_and_gradients_are_those_of_all_at_once(name, size):
    torch.manual_seed(0)
    mixer = MIXERS[name]().double()
    x, weights = torch.randn(3, FRAMES, 6, dtype=torch.float64), list(mixer.parameters())
    results = []
    for y, state in (stream(mixer, x, FRAMES), stream(mixer, x, size)):
        total = y.square().sum() + sum(leaf.sum() for leaf in state.values())
        results.append([y, *state.values(), *torch.autograd.grad(total, weights)])
    for one, pieces in zip(*results, strict=True):
        torch.testing.assert_close(pieces, one)


@pytest.mark.parametrize("name", MIXERS)
def test_under_autocast_the_state_stays_in_float32(name):
    torch.manual_seed(0)
    mixer = MIXERS[name]()
    x = torch.randn(3, FRAMES, 6)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        (y, state), (y_1, state_1) = stream(mixer, x, FRAMES), stream(mixer, x, 1)
    assert y_1.dtype == y.dtype
    for a, b in zip(state.values(), state_1.values(), strict=True):
        assert b.dtype == torch.float32
        torch.testing.assert_close(a, b, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("name", MIXERS)
def test_a_frame_compiles(name):
    torch.manual_seed(0)
    mixer = MIXERS[name]().eval()
    x, state = torch.randn(2, 1, 6), {key: torch.randn_like(leaf) for key, leaf in mixer.initial_state(2).items()}
    step = torch.compile(mixer.advance, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(step(x, None, state), mixer.advance(x, None, state))
