"""Shallow fusion: the beam against every text, each with the exact score of the search and the language model together."""

import itertools
from types import SimpleNamespace

import pytest
import torch

from audiorec.config import parse
from audiorec.errors import ConfigError, UserError
from audiorec.models.language import pad
from audiorec.search import CtcBeamSearch, Fusion, SearchConfig, TransducerBeamSearch
from audiorec.search.words import Words
from audiorec.text import train_tokenizer
from audiorec.transcript import Hypothesis
from tests.search import test_words
from tests.search.searches import DIM, VOCABULARY, automata, beam, ctc, fusion, lexicon, parts, word_lm
from tests.search.test_beam import SYMBOLS, score
from tests.search.test_words import by_ctc, by_transducer

KINDS = ["ctc", "transducer"]
LENGTHS = torch.tensor([4, 3, 0, 1])
WIDE = 400  # wide enough for every text of four frames


def plainly(fused: Fusion, text: tuple) -> float:
    """What the language model makes of a whole text, which it reads at once."""
    return fused.bonus * len(text) - fused.weight * float(fused.model.losses(*pad([text])))


def made(kind: str, **options):
    """A search with a language model, frames (B, T, C), and what gives the scores of texts in a row without either."""
    torch.manual_seed(2)
    if kind == "ctc":
        x = (2 * torch.randn(4, 4, SYMBOLS)).log_softmax(-1)
        return CtcBeamSearch(ctc, WIDE, symbols=SYMBOLS, fusion=fusion(SYMBOLS), **options), x, by_ctc
    predictor, joiner = parts("lstm")
    search = TransducerBeamSearch(predictor, joiner, WIDE, fusion=fusion(VOCABULARY), **options)
    return search, torch.randn(4, 4, DIM), lambda row: by_transducer(predictor, joiner, row)


@torch.no_grad()
@pytest.mark.parametrize("helped", [False, True], ids=["alone", "the rows' own n-gram and hotwords"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_n_best_list_is_every_text_with_its_exact_score(kind, helped):
    symbols = SYMBOLS if kind == "ctc" else VOCABULARY
    machines = automata(symbols) if helped else ()
    search, x, reference = made(kind, columns=2 if helped else 0)
    owner = search.add(machines) if helped else 0
    texts = [text for n in range(5) for text in itertools.product(range(1, symbols), repeat=n)]
    known = {text: plainly(search.fusion, text) + score(text, machines) for text in texts}
    wanted, changed = [], 0
    for row, length in zip(x, LENGTHS.tolist(), strict=True):
        sums = reference(row[:length])([text for text in texts if len(text) <= length])
        sums = {text: value for text, value in sums.items() if value > -torch.inf}
        wanted.append({text: value + known[text] for text, value in sums.items()})
        changed += max(sums, key=sums.get) != max(wanted[-1], key=wanted[-1].get)
    assert changed, "the language model chose nothing"
    for pieces in ([4], [1] * 4, [2, 1, 1]):
        state, at, said = search.initial_state(4, owner=owner), 0, [Hypothesis() for _ in x]
        for size in pieces:
            tokens, state = search.step(x[:, at : at + size], (LENGTHS - at).clamp(0, size), state)
            said = [one + tokens.hypothesis(i) for i, one in enumerate(said)]
            at += size
        rest, (committed, after) = search.flush(state), search.commit(state)
        for i, totals in enumerate(wanted):
            best, found = max(totals.values()), search.hypotheses(state, i)
            assert {(*said[i].ids, *one.ids): one.score for one in found} == pytest.approx(
                {text: value - best for text, value in totals.items()}, abs=2e-4
            )
            assert rest.hypothesis(i).ids == committed.hypothesis(i).ids == list(max(totals, key=totals.get))
        torch.testing.assert_close(after["fused"]["gains"], search.initial_state(4)["fused"]["gains"])  # a new text


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_it_scores_the_pieces_of_a_lexicons_words(kind):
    tree = lexicon(SYMBOLS if kind == "ctc" else VOCABULARY)
    search, x, reference = made(kind, words=Words(tree, word_lm(tree)))
    x = x[0, :3]
    plain = reference(x)
    fused = lambda texts: {text: value + plainly(search.fusion, text) for text, value in plain(texts).items()}  # noqa: E731
    test_words.check(search, x, fused)


@pytest.mark.parametrize("kind", KINDS)
def test_a_weight_of_nothing_is_no_fusion(kind):
    options = [{}, {"fusion": fusion(DIM if kind == "ctc" else VOCABULARY, weight=0.0, bonus=0.0)}]
    searches = [CtcBeamSearch(ctc, **one) if kind == "ctc" else beam("lstm", **one) for one in options]
    x = 2 * torch.randn(3, 40, DIM, generator=torch.Generator().manual_seed(0))
    (tokens, state), (fused, after) = (search.step(x, None, search.initial_state(3)) for search in searches)
    for row in range(3):
        assert tokens.row(row) == fused.row(row)
        for one, other in zip(searches[0].hypotheses(state, row), searches[1].hypotheses(after, row), strict=True):
            assert (
                one.ids == other.ids
                and one.frames == other.frames
                and one.score == pytest.approx(other.score, abs=1e-3)
            )


def test_where_no_token_comes_the_language_model_reads_nothing(monkeypatch):
    search = CtcBeamSearch(ctc, fusion=fusion())
    x = 2 * torch.randn(2, 20, DIM, generator=torch.Generator().manual_seed(0))
    _, state = search.step(x, None, search.initial_state(2))
    monkeypatch.setattr(search.fusion.model, "read", None)
    blank = torch.zeros(2, 5, DIM)
    blank[..., 0] = 50
    search.step(blank, None, state)


def test_other_pieces_are_refused():
    one, two = train_tokenizer("char", ["abc"]), train_tokenizer("char", ["abcd"])
    with pytest.raises(UserError, match=r"search\.fuse: the language model's pieces are not .* --tokenizer MODEL$"):
        Fusion(SimpleNamespace(), one, two, 0.3, 0.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"fuse_weight": 0.2, "fuse_bonus": 1.0}, "fuse_bonus, fuse_weight: has no effect without fuse"),
        ({"kind": "greedy", "fuse": "lm"}, "fuse: needs a beam"),
        ({"fuse": "lm", "fuse_weight": -1}, "fuse_weight: .*greater than or equal to 0"),
    ],
)
def test_settings_that_do_not_fit(settings, fault):
    with pytest.raises(ConfigError, match=fault):
        parse(SearchConfig, {"kind": "beam", **settings}, prefix="search")
