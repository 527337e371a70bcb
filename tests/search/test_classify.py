"""The running label: the class of the mean of all frames for any split, padding and company; none where blank is best."""

import pytest
import torch

from audiorec.models.pooling import RunningMean
from audiorec.search import ClassifySearch
from audiorec.streaming import leaves, take

SEARCH = ClassifySearch(RunningMean(5).double(), lambda mean: mean)


@pytest.mark.parametrize("seed", range(3))
def test_any_split_gives_the_label_of_the_whole(seed):
    torch.manual_seed(seed)
    x = torch.randn(5, 40, 5, dtype=torch.float64)
    x[3, :, 0] += 3  # blank is best
    lengths = torch.tensor([40, 17, 1, 30, 0])
    state, at = SEARCH.initial_state(5), torch.zeros(5, dtype=torch.int64)
    while (at < lengths).any():
        n = torch.minimum(torch.randint(0, 9, (5,)), lengths - at)
        piece = torch.full((5, int(n.max()) + 1, 5), torch.nan, dtype=torch.float64)
        for row in range(5):
            piece[row, : n[row]] = x[row, at[row] : at[row] + n[row]]
        tokens, after = SEARCH.step(piece, n, state)
        at += n
        assert not tokens.lengths.any(), "a label was given before the end"
        for row in range(5):
            label = int(x[row, : at[row]].mean(0).argmax()) if at[row] else 0
            assert SEARCH.partial(after).row(row) == (([label], [int(at[row]) - 1]) if label else ([], []))
            if n[row] == 0:
                kept = zip(leaves(take(state, [row])), leaves(take(after, [row])), strict=True)
                assert all(torch.equal(a[1], b[1]) for a, b in kept)
        state = after
    assert SEARCH.flush(state).row(3) == SEARCH.flush(state).row(4) == ([], [])
    best = x[0].mean(0).topk(2).values
    torch.testing.assert_close(state["margin"][0], (best[0] - best[1]).float())
    assert state["margin"][4] == torch.inf
