"""Predictors: symbol by symbol, each row at its own pace, they give what they give of the whole."""

import pytest
import torch

from audiorec.decoders import PREDICTORS
from audiorec.errors import ConfigError
from audiorec.streaming import leaves, put, take

CONFIGS = {
    "stateless": {"kind": "stateless", "dim": 8},
    "stateless of one symbol": {"kind": "stateless", "dim": 8, "context": 1},
    "lstm": {"kind": "lstm", "dim": 8, "layers": 2},
}


@pytest.mark.parametrize("name", CONFIGS)
def test_rows_at_their_own_pace_are_the_whole(name):
    torch.manual_seed(0)
    predictor = PREDICTORS.build(CONFIGS[name], 9).double().eval()
    symbols = torch.randint(1, 9, (4, 6))
    whole = predictor(symbols)
    assert whole.shape == (4, 7, predictor.output_dim)
    state, given = predictor.initial_state(4), torch.zeros(4, dtype=torch.int64)
    while (given < 6).any():
        torch.testing.assert_close(predictor.output(state), whole[torch.arange(4), given], rtol=0, atol=1e-12)
        rows = ((torch.rand(4) < 0.6) & (given < 6)).nonzero()[:, 0]
        before = state
        state = put(state, rows, predictor.step(symbols[rows, given[rows]], take(state, rows)))
        given[rows] += 1
        assert [leaf.shape for _, leaf in leaves(state)] == [leaf.shape for _, leaf in leaves(before)]
    torch.testing.assert_close(predictor.output(state), whole[:, 6], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_symbol_reaches_only_what_comes_after(name):
    predictor = PREDICTORS.build(CONFIGS[name], 9).eval()
    a = torch.tensor([[3, 4, 5, 6]])
    b = torch.tensor([[3, 4, 7, 6]])
    differs = (predictor(a) != predictor(b)).any(-1)[0]
    assert not differs[:3].any() and differs[3]


@pytest.mark.parametrize(
    "config, message",
    [
        ("gru", r"predictor\.kind: unknown kind 'gru'; it accepts lstm, stateless"),
        ({"kind": "stateless", "dim": 10}, r"predictor\.dim: .*multiple of 4"),
        ({"kind": "lstm", "context": 2}, r"predictor\.context: unknown key; accepted here: kind, dim, layers, dropout"),
    ],
)
def test_what_does_not_fit_is_named(config, message):
    with pytest.raises(ConfigError, match=message):
        PREDICTORS.build(config, 9)
