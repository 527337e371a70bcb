"""The full BLSTM against nn.LSTM, the latency-controlled one against its definition written as a loop, and each other."""

import math

import pytest
import torch
from audiorec_kernels.native import WIDE

from audiorec.encoders import build
from audiorec.encoders.rnn import Lstm
from audiorec.errors import ConfigError, UserError

LENGTHS = torch.tensor([29, 12, 7, 1, 0])


def encoder(chunk: int | None, look_ahead: int = 0, **options):
    torch.manual_seed(0)
    config = {"kind": "blstm", "dim": 6, "strides": [1], "dropout": 0.0, "layers": 3, "chunk": chunk, **options}
    return build({**config, "look_ahead": look_ahead}, 7).double()


def draw() -> torch.Tensor:
    """A batch with NaN in the padding."""
    x = torch.randn(len(LENGTHS), 29, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return x.masked_fill((torch.arange(29) >= LENGTHS[:, None])[..., None], torch.nan)


def by_definition(model, x: torch.Tensor, chunk: int, look_ahead: int) -> torch.Tensor:
    """One row (1, T, 7), window after window, each through the whole stack by torch's own LSTMs."""
    x, _ = model.subsampling(x, torch.tensor([x.shape[1]]))
    layers = model.layers.layers
    states = [None] * len(layers)
    outputs = []
    for start in range(0, x.shape[1], chunk):
        window = x[:, start : start + chunk + look_ahead].transpose(0, 1)
        for i, layer in enumerate(layers):
            frames = layer.norm(window)
            own, states[i] = layer.forwards.weights(frames[:chunk], states[i])
            forwards = (
                torch.cat([own, layer.forwards.weights(frames[chunk:], states[i])[0]])
                if frames[chunk:].numel()
                else own
            )
            backwards = layer.backwards.weights(frames.flip(0))[0].flip(0)
            window = window + torch.cat([forwards, backwards], -1)
        outputs.append(window[:chunk].transpose(0, 1))
    return model.norm.module(torch.cat(outputs, 1))


@pytest.mark.parametrize("chunk, look_ahead", [(4, 0), (4, 3), (3, 7), (1, 1), (40, 2)])
def test_windows_follow_the_definition(chunk, look_ahead):
    model, x = encoder(chunk, look_ahead), draw()
    y, lengths = model(x, LENGTHS)
    assert torch.equal(lengths, LENGTHS)
    for row, n in enumerate(LENGTHS.tolist()):
        if n:
            torch.testing.assert_close(y[row, :n], by_definition(model, x[row : row + 1, :n], chunk, look_ahead)[0])
        assert not y[row, n:].any()


def test_the_full_one_is_torchs_bidirectional_lstm():
    model, x = encoder(None), draw()
    y, _ = model(x, LENGTHS)
    for row, n in enumerate(LENGTHS.tolist()[:-1]):
        frames, _ = model.subsampling(x[row : row + 1, :n], torch.tensor([n]))
        for layer in model.layers.layers:
            both = torch.nn.LSTM(6, 3, batch_first=True, bidirectional=True, dtype=torch.float64)
            weights = {f"{name}_reverse": value for name, value in layer.backwards.weights.state_dict().items()}
            both.load_state_dict(layer.forwards.weights.state_dict() | weights)
            frames = frames + both(layer.norm(frames))[0]
        torch.testing.assert_close(y[row, :n], model.norm.module(frames)[0])
        assert not y[row, n:].any()


@pytest.mark.parametrize("chunk", [1, 5, 29])
def test_look_ahead_to_the_end_is_the_full_one(chunk):
    full, x = encoder(None), draw()
    windows = encoder(chunk, look_ahead=29 - chunk)
    windows.load_state_dict(full.state_dict())
    expected, got = full(x, LENGTHS)[0], windows(x, LENGTHS)[0]
    torch.testing.assert_close(got, expected)
    for a, b in zip(
        torch.autograd.grad(got.square().sum(), windows.parameters()),
        torch.autograd.grad(expected.square().sum(), full.parameters()),
        strict=True,
    ):
        torch.testing.assert_close(a, b)
    shorter = encoder(5, look_ahead=4)
    shorter.load_state_dict(full.state_dict())
    assert (shorter(x, LENGTHS)[0] - expected).abs().max() > 1e-3


def test_look_ahead_does_not_add_up_by_layer():
    assert {encoder(4, 3, layers=layers).lookahead for layers in (1, 2, 5)} == {4 - 1 + 3}


def test_the_full_one_says_that_it_cannot_stream():
    model = encoder(None)
    assert model.lookahead == math.inf and model.ready(1000) == 0
    for attempt in (
        lambda: model.step(torch.zeros(1, 4, 7, dtype=torch.float64)),
        lambda: model.initial_state(1),
    ):
        with pytest.raises(UserError, match=r"encoder\.chunk: null .* cannot stream; .* encoder\.look_ahead=8"):
            attempt()


def test_an_odd_width_is_named():
    with pytest.raises(ConfigError, match=r"encoder\.dim: must be even.* got 5"):
        encoder(4, dim=5)


@pytest.mark.skipif(not WIDE, reason="no native kernel serves this processor")
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "ragged"])
def test_training_takes_all_chunks_at_once(lengths, monkeypatch):
    """The forward direction of all windows in one call of the native kernel is the chunks' one after another."""
    model, x = encoder(4, 3, dim=32).float(), draw().float()
    x = x.nan_to_num() if lengths is None else x
    parameters, factors = list(model.parameters()), torch.randn(5, 29, 32)

    def results() -> list[torch.Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            y, _ = model(x, lengths)
        return [y, *torch.autograd.grad((y * factors).sum(), parameters)]

    called, states = [], Lstm.states
    monkeypatch.setattr(Lstm, "states", lambda *arguments: called.append(1) or states(*arguments))
    at_once = results()
    assert len(called) == 3
    monkeypatch.setattr(Lstm, "states", lambda *arguments: None)
    for got, expected in zip(at_once, results(), strict=True):
        assert (got - expected).norm() < 0.03 * expected.norm()
