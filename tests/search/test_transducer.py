"""Greedy transducer searches against the plainest ones: one row, one frame, one symbol at a time."""

import pytest
import torch
from torch import Tensor

from audiorec.search import TdtGreedySearch, Tokens, TransducerGreedySearch
from tests.search.searches import DIM, DURATIONS, VOCABULARY, nemo, parts


@torch.no_grad()
def plain(predictor, joiner, x: Tensor, cap: int, durations: tuple[int, ...] = ()) -> tuple[list, list, int, float]:
    """Symbols, their frames, how often the joiner was asked, and the smallest gap of two scores on the way."""
    ids, frames, asked, gaps = [], [], 0, []
    at = count = 0
    while at < len(x):
        y = predictor(torch.tensor([ids], dtype=torch.int64))[:, -1]
        hidden = joiner.encoder_proj(x[at]) + joiner.predictor_proj(y[0])
        logits = joiner.output(hidden.relu() if joiner.kind == "relu" else hidden.tanh())
        asked += 1
        best = logits[:VOCABULARY].sort(descending=True)
        symbol = int(best.indices[0])
        gaps.append(float(best.values[0] - best.values[1]))
        move = int(symbol == 0)
        if durations:
            lasting = {d: float(v) for d, v in zip(durations, logits[VOCABULARY:], strict=True) if d or symbol}
            ranked = sorted(lasting, key=lasting.get, reverse=True)
            move = ranked[0]
            if len(ranked) > 1:
                gaps.append(lasting[ranked[0]] - lasting[ranked[1]])
        if symbol:
            ids.append(symbol)
            frames.append(at)
            count += 1
        if count == cap:
            move = max(move, 1)
        if move:
            at, count = at + move, 0
    return ids, frames, asked, min(gaps)


@pytest.mark.parametrize("predictor", ["stateless", "lstm"])
@pytest.mark.parametrize("cap, block", [(10, 8), (10, 1), (3, 4), (1, 5)])
def test_greedy_is_the_plain_one(predictor, cap, block):
    check(*parts(predictor), cap, lambda *model: TransducerGreedySearch(*model, max_symbols=cap, block=block))


def test_greedy_is_the_plain_one_with_the_parts_of_nemo():
    check(*nemo(), 3, lambda *model: TransducerGreedySearch(*model, max_symbols=3))


@pytest.mark.parametrize("predictor", ["stateless", "lstm"])
@pytest.mark.parametrize("durations", [DURATIONS, (1, 3), (0, 1)])
def test_tdt_is_the_plain_one(predictor, durations):
    model = parts(predictor, VOCABULARY + len(durations))
    check(*model, 4, lambda *model: TdtGreedySearch(*model, durations, max_symbols=4), durations)


def check(predictor, joiner, cap, make, durations=()):
    x = 2 * torch.randn(3, 50, DIM, generator=torch.Generator().manual_seed(2))
    lengths = torch.tensor([50, 31, 17])
    search = make(predictor, joiner)
    tokens, state = search.step(x, lengths, search.initial_state(3))
    for i, length in enumerate(lengths):
        ids, frames, asked, margin = plain(predictor, joiner, x[i, :length], cap, durations)
        assert tokens.row(i) == (ids, frames) and state["decisions"][i] == asked
        assert float(state["margin"][i]) == pytest.approx(margin, abs=1e-5)


def test_one_duration_of_one_frame_is_one_symbol_a_frame():
    predictor, joiner = parts("stateless", VOCABULARY + 1)
    plain_joiner = parts("stateless")[1]
    plain_joiner.load_state_dict(
        {**joiner.state_dict(), "output.weight": joiner.output.weight[:-1], "output.bias": joiner.output.bias[:-1]}
    )
    x, lengths = torch.randn(2, 40, DIM), torch.tensor([40, 23])
    rows = []
    for search in (TdtGreedySearch(predictor, joiner, [1]), TransducerGreedySearch(predictor, plain_joiner, 1)):
        tokens, _ = search.step(x, lengths, search.initial_state(2))
        rows.append([tokens.row(0), tokens.row(1)])
    assert rows[0] == rows[1] and rows[0][0][0]


def test_tokens_of_rows_in_any_order():
    rows = torch.tensor([2, 0, 2, 0, 2])
    tokens = Tokens.of(rows, torch.tensor([5, 6, 7, 8, 9]), torch.tensor([0, 1, 1, 4, 5]), -rows.float(), 4)
    assert [tokens.row(i) for i in range(4)] == [([6, 8], [1, 4]), ([], []), ([5, 7, 9], [0, 1, 5]), ([], [])]
    assert tokens.ids.shape == (4, 3) and not tokens.ids[1].any()
