"""The beams' native kernel gives what torch's form gives: tokens, times, words, n-best lists with their scores, margins."""

import itertools
import random

import pytest
import torch
from audiorec_kernels import backend
from audiorec_kernels.native import ABSENT, LIBRARY

from audiorec.errors import UserError
from audiorec.search import CtcBeamSearch
from audiorec.search.automaton import Automaton
from audiorec.search.words import Words
from tests.search.searches import DIM, VOCABULARY, automata, beam, lexicon, word_lm

pytestmark = pytest.mark.skipif(LIBRARY is None, reason=ABSENT)

LENGTHS = torch.tensor([50, 23, 0, 1])


def of_words(symbols: int, draw: random.Random) -> Words | None:
    tree = lexicon(symbols)
    unknown = draw.choice([(), (-2.0, [token % 2 == 1 for token in range(symbols)])])
    return draw.choice([None, Words(tree, word_lm(tree), *unknown), Words(tree, None, *unknown)])


def drawn(kind: str, draw: random.Random):
    """A search of any options, and frames for it that are sure of themselves or not."""
    symbols = VOCABULARY if kind == "transducer" else draw.choice([DIM, 9, 40])
    options = {
        "beam": draw.choice([1, 2, 4, 8]),
        "window": draw.choice([3, 8, 64]),
        "threshold": draw.choice([None, None, 3.0, 6.0]),
        "automata": draw.choice([(), automata(symbols)]),
        "columns": draw.choice([0, 2]),
        "words": of_words(symbols, draw),
    }
    scale, blank = draw.choice([0.5, 2, 5]), draw.choice([0, 3])
    if kind == "transducer":
        options["ilm_weight"] = draw.choice([0.0, 0.4])
        return beam(draw.choice(["stateless", "lstm"]), **options), scale * torch.randn(4, 50, DIM)
    x = scale * torch.randn(4, 50, symbols)
    x[..., 0] += blank
    return CtcBeamSearch(lambda x: x, **options), x.log_softmax(-1)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", ["ctc", "transducer"])
def test_it_gives_what_torch_gives(kind, seed):
    torch.manual_seed(seed)
    search, x = drawn(kind, random.Random(seed))
    found = []
    for name in ("reference", "native"):
        with backend(name):
            tokens, state = search.step(x, LENGTHS, search.initial_state(4))
        said = [tokens.hypothesis(i) + search.flush(state).hypothesis(i) for i in range(4)]
        _, after = search.commit(state)
        found.append((said, [search.hypotheses(state, i) for i in range(4)], state["margin"], after["own"]))
    (said, best, margin, own), (said_here, best_here, margin_here, own_here) = found
    assert len(said[0].ids) > 2 or search.words
    for one, other in zip([*said, *itertools.chain(*best)], [*said_here, *itertools.chain(*best_here)], strict=True):
        assert (one.ids, one.frames, one.words) == (other.ids, other.frames, other.words)
        assert one.log_probs == pytest.approx(other.log_probs, abs=1e-4) and one.score == pytest.approx(
            other.score, abs=1e-3
        )
    torch.testing.assert_close(margin, margin_here, atol=1e-3, rtol=0)
    for leaf in own:
        if leaf in ("blank", "symbol", "read"):
            torch.testing.assert_close(own[leaf], own_here[leaf], atol=1e-3, rtol=0)


def test_no_symbol_weighs_more_than_an_automaton_says():
    for machine in (*automata(), word_lm(lexicon())):
        weights, _ = machine.step(torch.arange(machine.state_count)[:, None], torch.arange(machine.symbols))
        assert float(weights.max()) == machine.most


def test_automata_over_other_symbols_are_refused_before_they_are_read():
    search = CtcBeamSearch(lambda x: x, automata=automata(DIM)[:1])
    with pytest.raises(UserError, match=f"over {DIM} symbols does not fit a search over {DIM + 2}"):
        search.step(torch.zeros(1, 1, DIM + 2), None, search.initial_state(1))


def test_scores_that_are_no_numbers_harm_nothing():
    for nonsense in (torch.nan, -torch.inf, torch.inf):
        search = CtcBeamSearch(lambda x: x, automata=automata(), words=Words(lexicon(), word_lm(lexicon())))
        x = torch.randn(2, 9, DIM).log_softmax(-1)
        x[1, 4:] = nonsense
        tokens, state = search.step(x, None, search.initial_state(2))
        alone, _ = search.step(x[:1], None, search.initial_state(1))
        assert tokens.row(0) == alone.row(0)
        search.commit(state), search.flush(state)


def test_an_automaton_of_one_state_and_a_beam_of_many():
    flat = Automaton(DIM, {(0, symbol): (-0.1 * symbol, 0) for symbol in range(DIM)}, [(0.0, 0)], [0.0])
    x = torch.randn(1, 6, DIM).log_softmax(-1)
    search = CtcBeamSearch(lambda x: x, beam=700, automata=[flat])
    best = []
    for name in ("reference", "native"):
        with backend(name):
            best.append(search.hypotheses(search.step(x, None, search.initial_state(1))[1], 0))
    a, b = ({tuple(one.ids): one.score for one in found} for found in best)
    assert len(a) > 300 and sum(a[ids] == pytest.approx(b.get(ids), abs=1e-3) for ids in a) > 0.99 * len(a)
