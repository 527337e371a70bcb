"""The numpy searches give what torch's give: tokens, frames, log-probabilities and margins, in any split."""

import random

import numpy as np
import pytest
import torch

from audiorec.models.pooling import RunningMean
from audiorec.runtime.search import ClassifySearch, CtcGreedySearch, TdtGreedySearch, TransducerGreedySearch
from audiorec.runtime.state import put, take
from audiorec.search import ClassifySearch as TorchClassifySearch
from audiorec.streaming import leaves
from audiorec.transcript import Hypothesis
from tests.search.searches import DIM, SEARCHES, ctc

CASES = [name for name in SEARCHES if "greedy" in name and "skipped" not in name]
LENGTHS = [60, 41, 33, 8, 1, 0]
SEATS = 3


def utterances() -> list[np.ndarray]:
    generator = np.random.default_rng(1)
    return [2 * generator.standard_normal((length, DIM)).astype(np.float32) for length in LENGTHS]


def nest(flat: dict) -> dict:
    """Dotted names as a tree of tensors."""
    tree: dict = {}
    for name, array in flat.items():
        *path, last = name.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[last] = torch.from_numpy(array)
    return tree


def flatten(tree: dict) -> dict:
    return {name: leaf.numpy() for name, leaf in leaves(tree)}


def in_numpy(search):
    """The numpy search over the parts of a torch one, and what makes its frames of the torch one's."""
    if not hasattr(search, "joiner"):
        search.scores = ctc
        return CtcGreedySearch(), lambda x: ctc(torch.from_numpy(x)).numpy()
    *parts, frames = networks_in_numpy(search)
    if hasattr(search, "durations"):
        return TdtGreedySearch(*parts, search.max_symbols, search.durations), frames
    return TransducerGreedySearch(*parts, search.max_symbols, search.block), frames


def networks_in_numpy(search):
    """What a numpy search of a transducer needs: ``predict``, ``join``, ``read``, the predictor's state; and its frames."""
    predictor, joiner = search.predictor, search.joiner

    @torch.no_grad()
    def predict(symbols, state):
        after = predictor.step(torch.from_numpy(symbols), nest(state))
        return joiner.predictor_proj(predictor.output(after)).numpy(), flatten(after)

    @torch.no_grad()
    def join(frames, read):
        return joiner(torch.from_numpy(frames), torch.from_numpy(read)[:, None]).numpy()

    @torch.no_grad()
    def frames(x):
        return joiner.encoder_proj(torch.from_numpy(x)).numpy()

    with torch.no_grad():
        state = predictor.initial_state(1)
        read = joiner.predictor_proj(predictor.output(state)).numpy()
    return predict, join, read, flatten(state), frames


def batch(rows: list[np.ndarray], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows side by side, NaN past their ends."""
    x = np.full((len(rows), size, DIM), np.nan, np.float32)
    for i, row in enumerate(rows):
        x[i, : len(row)] = row
    return x, np.array([len(row) for row in rows])


def expected(search, rows) -> tuple[list[Hypothesis], dict]:
    x, lengths = batch(rows, max(LENGTHS))
    tokens, state = search.step(torch.from_numpy(x), torch.from_numpy(lengths), search.initial_state(len(rows)))
    return [tokens.hypothesis(i) for i in range(len(rows))], flatten(state)


def agree(found: list[Hypothesis], wanted: list[Hypothesis]) -> None:
    assert [(one.ids, one.frames) for one in found] == [(one.ids, one.frames) for one in wanted]
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one.log_probs, other.log_probs, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_a_batch_gives_what_torch_gives(name):
    search, rows = SEARCHES[name](), utterances()
    mine, frames = in_numpy(search)
    wanted, end = expected(search, rows)
    x, lengths = batch(rows, max(LENGTHS))
    found, state = mine.step(frames(x), lengths, mine.initial_state(len(rows)))
    agree(found, wanted)
    assert len(found[0].ids) > 5 and len(set(found[0].frames)) < 55
    assert state.keys() == end.keys()
    for leaf, array in state.items():
        assert array.dtype == end[leaf].dtype, leaf
        np.testing.assert_allclose(array, end[leaf], atol=1e-5, err_msg=leaf)


@pytest.mark.parametrize("whole", [True, False], ids=["whole rows", "ragged rows"])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", CASES)
def test_any_split_gives_the_tokens_of_the_whole(name, seed, whole):
    search, rows, draw = SEARCHES[name](), utterances(), random.Random(seed)
    mine, frames = in_numpy(search)
    wanted, end = expected(search, rows)
    heard, margins = [Hypothesis() for _ in rows], np.zeros(len(rows), np.float32)
    at, waiting, seats = [0] * len(rows), list(range(len(rows))), [None] * SEATS
    state = mine.initial_state(SEATS)
    kinds = [(leaf, array.shape, array.dtype) for leaf, array in state.items()]
    while waiting or any(seat is not None for seat in seats):
        for i, seat in enumerate(seats):
            if seat is None and waiting and draw.random() < 0.7:
                seats[i] = waiting.pop(0)
                state = put(state, [i], mine.initial_state(1))
        order = draw.sample(range(SEATS), SEATS)
        seats, state = [seats[i] for i in order], take(state, order)
        size = draw.choice([0, 1, 2, 3, 9])
        counts = [0 if seat is None else min(draw.randint(0, size), LENGTHS[seat] - at[seat]) for seat in seats]
        if whole:  # those that have as much, alone
            counts = [size if seat is not None and LENGTHS[seat] - at[seat] >= size else 0 for seat in seats]
            if not any(counts):
                counts = [0 if seat is None else LENGTHS[seat] - at[seat] for seat in seats]
        pieces = [
            rows[0][:0] if seat is None else rows[seat][at[seat] :][:n] for seat, n in zip(seats, counts, strict=True)
        ]
        before = {leaf: array.copy() for leaf, array in state.items()}
        if whole and len(sizes := {n for n in counts if n}) == 1:
            chosen = [i for i, n in enumerate(counts) if n]
            x = np.stack([pieces[i] for i in chosen])
            said, part = mine.step(frames(x), None, take(state, chosen))
            assert sizes == {x.shape[1]}
            said = dict(zip(chosen, said, strict=True))
            after = put(state, chosen, part)
        else:
            said, after = mine.step(frames(batch(pieces, max([size, *counts]))[0]), np.array(counts), state)
        assert [(leaf, array.shape, array.dtype) for leaf, array in after.items()] == kinds
        for leaf, old in before.items():
            assert np.array_equal(old, state[leaf]), f"step wrote into the {leaf} it was given"
            for i, count in enumerate(counts):
                assert count or np.array_equal(old[i], after[leaf][i]), f"a row of length 0 changed its {leaf}"
        state = after
        for i, seat in enumerate(seats):
            if seat is None:
                continue
            if counts[i]:
                heard[seat].extend(said[i])
            at[seat] += counts[i]
            if at[seat] == LENGTHS[seat]:
                margins[seat], seats[i] = state["margin"][i], None
    agree(heard, wanted)
    np.testing.assert_allclose(margins, end["margin"], atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_a_label_is_what_torch_finds_in_any_split(seed):
    linear = torch.nn.Linear(DIM, 7)
    with torch.no_grad():
        linear.weight.mul_(3)
        search = TorchClassifySearch(RunningMean(DIM), lambda mean: linear(mean).log_softmax(-1))
        rows, mine, draw = utterances(), ClassifySearch(7), random.Random(seed)
        for row in rows:
            _, state = search.step(torch.from_numpy(row[None]), None, search.initial_state(1))
            wanted, margin = search.partial(state).hypothesis(0), float(state["margin"])
            state, at = mine.initial_state(2), 0
            while at < len(row):
                size = draw.choice([1, 2, 9, 40])
                piece = linear(torch.from_numpy(row[at : at + size])).numpy()
                counts = None if draw.random() < 0.5 else np.array([len(piece), len(piece) // 2])
                _, state = mine.step(np.stack([piece, piece]), counts, state)
                at += size
            agree(mine.partial(state)[:1], [wanted])
            np.testing.assert_allclose(state["margin"][0], margin, atol=1e-4)
