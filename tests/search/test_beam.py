"""Beam searches against sums over all alignments, with and without what helps them."""

import itertools
import math
from collections import defaultdict
from functools import cache

import pytest
import torch
from torch import Tensor

from audiorec.decoders import PREDICTORS, Joiner
from audiorec.search import CtcBeamSearch, CtcGreedySearch, TransducerBeamSearch
from tests.search.searches import DIM, VOCABULARY, automata, ctc, parts

pytestmark = pytest.mark.usefixtures("form")

SYMBOLS, WIDE = 4, 400  # wide enough for every sequence of five frames
SOME = 30


def score(sequence: tuple, machines) -> float:
    """What automata make of a whole sequence, one symbol after another."""
    total = 0.0
    for machine in machines:
        state = machine.start
        for symbol in sequence:
            weight, state = followed(machine, state, symbol)
            total += weight
        total += float(machine.final[state])
    return total


@cache
def followed(machine, state: int, symbol: int) -> tuple[float, int]:
    weight, after = machine.step(torch.tensor(state), torch.tensor(symbol))
    return float(weight), int(after)


def every_alignment(frames: int, symbols: int, collapse, log_prob) -> dict[tuple, float]:
    """Sequence → log of the sum over its alignments."""
    sums: dict[tuple, float] = defaultdict(float)
    for path in itertools.product(range(symbols), repeat=frames):
        sums[collapse(path)] += math.exp(log_prob(path))
    return {sequence: math.log(value) for sequence, value in sums.items()}


def collapse_ctc(path: tuple) -> tuple:
    return tuple(c for i, c in enumerate(path) if c and (i == 0 or c != path[i - 1]))


def check(search, x: Tensor, expected: dict[tuple, float], machines=(), owner: int = 0) -> None:
    """The n-best list is every sequence with its exact score, best first."""
    tokens, state = search.step(x[None], torch.tensor([len(x)]), search.initial_state(1, owner=owner))
    said = tuple(tokens.row(0)[0])
    found = {said + tuple(one.ids): one.score for one in search.hypotheses(state, 0)}
    totals = {sequence: value + score(sequence, machines) for sequence, value in expected.items()}
    best = max(totals.values())
    assert found.keys() == totals.keys()
    assert found == pytest.approx({sequence: value - best for sequence, value in totals.items()}, abs=2e-4)
    ordered = sorted(totals.values(), reverse=True)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert said + tuple(search.flush(state).row(0)[0]) == max(totals, key=totals.get)
    assert float(state["margin"][0]) == pytest.approx(ordered[0] - ordered[1], abs=1e-4)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("helped", [False, True], ids=["alone", "n-gram and hotwords"])
def test_ctc_sums_over_all_alignments(seed, helped):
    torch.manual_seed(seed)
    x, machines = (2 * torch.randn(5, SYMBOLS)).log_softmax(-1), automata(SYMBOLS) if helped else ()
    expected = every_alignment(5, SYMBOLS, collapse_ctc, lambda path: sum(float(x[t, c]) for t, c in enumerate(path)))
    check(CtcBeamSearch(ctc, beam=WIDE, automata=machines), x, expected, machines)
    search = CtcBeamSearch(ctc, beam=WIDE, automata=automata(SYMBOLS)[:1], columns=2)
    check(search, x, expected, machines, search.add(machines))


@pytest.mark.parametrize("predictor", ["stateless", "lstm"])
@pytest.mark.parametrize("helped", [False, True], ids=["alone", "n-gram and hotwords"])
def test_a_transducer_sums_over_alignments_of_one_symbol_a_frame(predictor, helped):
    model = parts(predictor)
    x, machines = torch.randn(4, DIM), automata(VOCABULARY) if helped else ()

    def collapse(path):
        return tuple(c for c in path if c)

    @torch.no_grad()
    def log_prob(path):
        total = 0.0
        for t, symbol in enumerate(path):
            said = torch.tensor([collapse(path[:t])], dtype=torch.int64)
            y = model[1].predictor_proj(model[0](said)[:, -1])
            total += float(model[1](model[1].encoder_proj(x[t]), y)[0].log_softmax(-1)[symbol])
        return total

    @torch.no_grad()
    def internal(sequence):
        y = model[1].predictor_proj(model[0](torch.tensor([sequence], dtype=torch.int64))[0])
        logits = model[1].output(y.tanh())[:, 1:].log_softmax(-1)
        return sum(float(logits[i, symbol - 1]) for i, symbol in enumerate(sequence))

    expected = every_alignment(4, VOCABULARY, collapse, log_prob)
    check(TransducerBeamSearch(*model, beam=700, automata=machines), x, expected, machines)
    without = {sequence: value - 0.6 * internal(sequence) for sequence, value in expected.items()}
    check(TransducerBeamSearch(*model, beam=700, automata=machines, ilm_weight=0.6), x, without, machines)
    search = TransducerBeamSearch(*model, beam=700, automata=automata(VOCABULARY)[:1], columns=2)
    check(search, x, expected, machines, search.add(machines))


@pytest.mark.parametrize("beam", [1, 2, 3])
@pytest.mark.parametrize("kind", ["ctc", "transducer"])
def test_no_token_that_is_left_untried_could_enter_the_beam(kind, beam):
    """Frames after frames of the same few likely symbols, so that hypotheses grow into one another.

    So a row without automata gives the same beside rows that have some, for which more tokens are tried.
    """
    predictor, joiner = PREDICTORS.build({"kind": "stateless", "dim": 8}, SOME).eval(), Joiner(SOME, 8, SOME, SOME)
    with torch.no_grad():
        joiner.encoder_proj.weight.copy_(0.1 * torch.eye(SOME))
        joiner.output.weight.copy_(10 * torch.eye(SOME))
        joiner.predictor_proj.weight.mul_(0.1)
    torch.manual_seed(8)
    x = torch.randn(50, 8, SOME) * 0.3
    x[..., :6] += 3
    lengths, found = torch.full((50,), 8), []
    owners = torch.arange(50) % 2
    for columns, all_of_them in ((0, False), (0, True), (2, False)):
        options = {"beam": beam, "columns": columns}
        search = CtcBeamSearch(ctc, **options) if kind == "ctc" else TransducerBeamSearch(predictor, joiner, **options)
        if all_of_them:
            search.tried = SOME
        if columns:
            assert search.tried == beam and search.add(automata(SOME)) == 1 and search.tried == 4 * beam
        tokens, state = search.step(x, lengths, search.initial_state(50, owner=owners if columns else 0))
        found.append([(tokens.hypothesis(i), search.hypotheses(state, i)) for i in range(50)])
    assert found[0] == found[1]
    assert found[0][::2] == found[2][::2] and found[0] != found[2]


def peaked(frames: int, symbols: int) -> Tensor:
    """Log-probabilities (1, T, V) of 0.95 for one symbol of each frame."""
    best = torch.randint(symbols, (1, frames)) * torch.randint(2, (1, frames))
    return torch.full((1, frames, symbols), 0.05 / (symbols - 1)).scatter(2, best[..., None], 0.95).log()


@pytest.mark.parametrize("beam", [1, 4])
def test_where_ctc_is_sure_a_beam_is_greedy_search_times_and_all(beam):
    torch.manual_seed(0)
    x, n = peaked(80, 5), torch.tensor([80])
    rows = []
    for search in (CtcGreedySearch(ctc), CtcBeamSearch(ctc, beam=beam)):
        tokens, state = search.step(x, n, search.initial_state(1))
        rows.append(tokens.hypothesis(0) + search.flush(state).hypothesis(0))
    assert rows[0].ids == rows[1].ids and rows[0].frames == rows[1].frames and len(rows[0].ids) > 15
    assert rows[0].log_probs == pytest.approx(rows[1].log_probs, abs=1e-5)


def test_a_token_counts_among_what_is_not_blank():
    scores = torch.tensor([[[0.5, 0.0001, 0.3, 0.1999], [0.9, 0.0001, 0.0001, 0.0998]]]).log()
    for search in (CtcGreedySearch(ctc), CtcBeamSearch(ctc)):
        x = scores.clone()
        x[0, 0, [0, 2]] = x[0, 0, [2, 0]]  # 0.5 now for symbol 2
        tokens, state = search.step(x, torch.tensor([2]), search.initial_state(1))
        said = tokens.hypothesis(0) + search.flush(state).hypothesis(0)
        assert said.ids == [2] and said.log_probs == pytest.approx([math.log(0.5 / 0.7)], abs=1e-4)


def test_the_state_stays_small_and_room_is_made_at_a_frame():
    """Sixty frames of one symbol against another, never decided: the window forces it, at the same frame however fed."""
    undecided = torch.tensor([[-9.0, 0.0, 0.0, -9.0]]).log_softmax(-1).expand(60, -1)
    blank = torch.tensor([[0.0, -9.0, -9.0, -9.0]]).log_softmax(-1).expand(60, -1)
    x = torch.stack([undecided, blank], 1).flatten(0, 1)[None]
    search = CtcBeamSearch(ctc, beam=8, window=4)
    given = []
    for size in (120, 7, 1):
        state, said = search.initial_state(1), []
        for piece in x.split(size, 1):
            tokens, state = search.step(piece, torch.tensor([piece.shape[1]]), state)
            said += zip(*tokens.row(0), strict=True)
            assert int(state["history"]["length"].max()) < 4
        given.append(said)
    assert given[0] == given[1] == given[2] and len(given[0]) >= 56


def test_hours_do_not_wear_the_scores_out():
    """The same minute again and again: scores stay relative, so the last repetition is searched as the first was."""
    torch.manual_seed(1)
    x = torch.randn(1, 50, 6).log_softmax(-1)
    x = torch.cat([x, torch.tensor([0.0, *[-90.0] * 5]).expand(1, 80, -1)], 1)
    search, n = CtcBeamSearch(ctc), torch.tensor([130])
    state, said = search.initial_state(1), []
    for _ in range(8):
        tokens, state = search.step(x, n, state)
        said.append(tokens.row(0)[0])
    assert float(state["score"].max()) == 0 and state["score"].isfinite().all()
    assert len({tuple(one) for one in said[1:]}) <= 2 and len(said[-1]) > 3


def test_a_threshold_drops_what_is_far_below_the_best_and_commits_sooner():
    torch.manual_seed(0)
    x, found = (3 * torch.randn(1, 60, DIM)).log_softmax(-1), []
    for threshold in (None, 1e6, 0.2):
        search = CtcBeamSearch(lambda x: x, beam=16, threshold=threshold)
        tokens, state = search.step(x, None, search.initial_state(1))
        found.append((tokens.hypothesis(0).ids, [one.score for one in search.hypotheses(state, 0)]))
    (ids, scores), wide, (ids_here, scores_here) = found
    assert (ids, scores) == wide and scores[-1] < -0.2 <= scores_here[-1]
    assert len(ids_here) > len(ids) and ids_here[: len(ids)] == ids
