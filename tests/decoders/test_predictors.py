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
    "stateless, from zeros": {"kind": "stateless", "dim": 8, "start": "zero"},
    "lstm, from zeros": {"kind": "lstm", "dim": 8, "layers": 2, "start": "zero"},
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


def test_a_start_of_zero_is_that_of_a_plain_lstm_and_does_not_learn():
    """NeMo's prediction network: a vector of zeros, then the symbols' embeddings, through ``nn.LSTM``."""
    torch.manual_seed(0)
    predictor = PREDICTORS.build(CONFIGS["lstm, from zeros"], 9).double().eval()
    plain = torch.nn.LSTM(8, 8, 2, batch_first=True).double()
    for i, layer in enumerate(predictor.layers.values()):
        for name, weight in layer.named_parameters():
            getattr(plain, f"{name}_l{i}").data.copy_(weight)
    symbols = torch.tensor([[3, 4, 1], [5, 5, 2]])
    embedded = predictor.embedding(symbols)
    expected, _ = plain(torch.cat([torch.zeros(2, 1, 8, dtype=torch.float64), embedded], 1))
    y = predictor(symbols)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
    optimizer = torch.optim.AdamW(predictor.parameters(), lr=0.1, weight_decay=0.1)
    y.square().sum().backward()
    optimizer.step()
    assert not predictor.embedding.weight[0].any() and predictor.embedding.weight[3].any()


@pytest.mark.parametrize(
    "config, message",
    [
        ("gru", r"predictor\.kind: unknown kind 'gru'; it accepts lstm, stateless"),
        ({"kind": "stateless", "dim": 10}, r"predictor\.dim: .*multiple of 4"),
        (
            {"kind": "lstm", "context": 2},
            r"predictor\.context: unknown key; accepted here: kind, start, dim, layers, dropout",
        ),
    ],
)
def test_what_does_not_fit_is_named(config, message):
    with pytest.raises(ConfigError, match=message):
        PREDICTORS.build(config, 9)
