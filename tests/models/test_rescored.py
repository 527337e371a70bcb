"""Rescoring: the order of an n-best list is that of the summed scores by brute force, after commits and at their place too."""

import pytest
import torch

from audiorec.config import parse
from audiorec.errors import ConfigError, UserError
from audiorec.models.language import pad
from audiorec.models.rescored import Rescorer
from audiorec.search import SearchConfig
from audiorec.text import train_tokenizer
from audiorec.transcript import Hypothesis
from tests.search.searches import DIM, SEARCHES

NAMES = ["ctc beam, rescored", "ctc beam, words, rescored"]


def plainly(search, before: Hypothesis, rest: Hypothesis) -> float:
    """The score of a hypothesis by its whole text, without any state."""
    rescorer, said = search.rescorer, before + rest
    symbols = [s for word in said.words if word for s in rescorer.own.encode(word)] if said.words else said.ids
    words = len([word for word in rest.words if word]) if said.words else len([i for i in rest.ids if i % 2 == 0])
    lm = lambda text: -float(rescorer.model.losses(*pad([text])))  # noqa: E731
    return rest.score + rescorer.weight * lm(symbols) + rescorer.bonus * words


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_the_order_is_that_of_brute_force(name):
    search, changed = SEARCHES[name](), 0
    for seed in range(8):
        x = 2 * torch.randn(3, 30, DIM, generator=torch.Generator().manual_seed(seed))
        state, before = search.initial_state(3), [Hypothesis() for _ in x]
        for part in x.split([7, 1, 22], 1):
            tokens, state = search.step(part, None, state)
            for row, said in enumerate(before):
                said.extend(tokens.hypothesis(row))
        plain = {key: leaf for key, leaf in state.items() if key != "lm"}
        committed, _ = search.commit(state)
        for row in range(3):
            found, beams = search.hypotheses(state, row), search.search.hypotheses(plain, row)
            expected = [plainly(search, before[row], one) for one in beams]
            order = sorted(range(len(beams)), key=lambda i: -expected[i])
            assert [one.ids for one in found] == [beams[i].ids for i in order]
            scores = torch.tensor([one.score for one in found])
            torch.testing.assert_close(
                scores, torch.tensor([expected[i] - max(expected) for i in order]), atol=1e-4, rtol=1e-4
            )
            assert committed.hypothesis(row).ids == search.flush(state).hypothesis(row).ids == found[0].ids
            changed += order[0] != 0
    assert changed > 4, "the language model chose nothing"


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_a_commit_begins_a_new_text(name):
    search = SEARCHES[name]()
    x = 2 * torch.randn(2, 20, DIM, generator=torch.Generator().manual_seed(3))
    _, state = search.commit(search.step(x, None, search.initial_state(2))[1])
    fresh = search.initial_state(2)["lm"]
    assert torch.equal(state["lm"]["last"], fresh["last"])


def test_other_pieces_need_a_lexicon():
    one, two = train_tokenizer("char", ["abc"]), train_tokenizer("char", ["abcd"])
    with pytest.raises(UserError, match="pieces are not the recogniser's; search with a lexicon"):
        Rescorer(torch.nn.Identity(), one, two, 0.5, 0.0, words=False)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"rescore_weight": 0.2}, "rescore_weight: has no effect without rescore"),
        ({"kind": "greedy", "rescore": "lm"}, "rescore: needs a beam"),
        ({"rescore": "lm", "lexicon": "l", "unk_score": -1.0}, "leave unk_score out"),
    ],
)
def test_settings_that_do_not_fit(settings, fault):
    with pytest.raises(ConfigError, match=fault):
        parse(SearchConfig, {"kind": "beam", **settings}, prefix="search")
