"""Viterbi alignments against the best of all paths, written out one by one."""

import itertools

import pytest
import torch
from torch import Tensor

from audiorec.search import align_ctc, align_transducer
from tests.search.searches import DIM, VOCABULARY, parts

LENGTHS, TEXTS = [5, 3, 4, 1], [[2, 2], [1, 3], [], [4, 1]]


def batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x = torch.randn(len(LENGTHS), max(LENGTHS), DIM, generator=torch.Generator().manual_seed(4))
    tokens = torch.tensor([[*text, 0, 0][:2] for text in TEXTS])
    return x, torch.tensor(LENGTHS), tokens, torch.tensor([len(text) for text in TEXTS])


def check(found, best: list[tuple[float, list, list]]) -> None:
    """best: (log-probability, starts, ends) of each row."""
    for i, (score, starts, ends) in enumerate(best):
        assert float(found.scores[i]) == pytest.approx(score, abs=1e-5)
        if score > -torch.inf:
            count = len(TEXTS[i])
            assert (found.starts[i, :count].tolist(), found.ends[i, :count].tolist()) == (starts, ends)


def test_ctc_is_the_best_of_all_paths():
    x, *rest = batch()
    log_probs = x[..., :VOCABULARY].log_softmax(-1)
    best = []
    for row, length, text in zip(log_probs, LENGTHS, TEXTS, strict=True):
        paths = []
        for path in itertools.product(range(VOCABULARY), repeat=length):
            runs = [(symbol, [t for t, _ in group]) for symbol, group in itertools.groupby(enumerate(path), _symbol)]
            spans = [frames for symbol, frames in runs if symbol]
            if [symbol for symbol, _ in runs if symbol] == text:
                score = sum(float(row[t, symbol]) for t, symbol in enumerate(path))
                paths.append((score, [span[0] for span in spans], [span[-1] + 1 for span in spans]))
        best.append(max(paths, default=(-torch.inf, [], [])))
    check(align_ctc(log_probs, *rest), best)


def _symbol(pair: tuple[int, int]) -> int:
    return pair[1]


@pytest.mark.parametrize("predictor", ["stateless", "lstm"])
@pytest.mark.parametrize("kind", ["regular", "modified", "constrained", (0, 1, 2), (2, 1), (1, 3)])
def test_transducers_are_the_best_of_all_paths(predictor, kind):
    durations = kind if isinstance(kind, tuple) else ()
    predictor, joiner = parts(predictor, VOCABULARY + len(durations))
    x, lengths, tokens, token_lengths = batch()
    with torch.no_grad():
        histories = joiner.predictor_proj(predictor(tokens))
        logits = joiner(joiner.encoder_proj(x)[:, :, None], histories[:, None])
    symbols = logits[..., :VOCABULARY].log_softmax(-1)
    lasting = logits[..., VOCABULARY:].log_softmax(-1)

    def paths(b: int, t: int, s: int):
        """Every way on from node (t, s): its log-probability, and where its tokens lie."""
        if t == LENGTHS[b] and s == len(TEXTS[b]):
            yield 0.0, [], []
        if t >= LENGTHS[b]:
            return
        blank = float(symbols[b, t, s, 0])
        ways = [(None, 1, blank)]
        if s < len(TEXTS[b]):
            token = float(symbols[b, t, s, TEXTS[b][s]])
            after = float(symbols[b, t, s + 1, 0]) if kind == "constrained" else 0.0
            ways.append((s, int(kind != "regular"), token + after))
        if durations:
            ways = [
                (which, d, score + float(lasting[b, t, s, i]))
                for which, _, score in ways
                for i, d in enumerate(durations)
                if d or which is not None
            ]
        for which, move, score in ways:
            for rest, starts, ends in paths(b, t + move, s + (which is not None)):
                if which is None:
                    yield score + rest, starts, ends
                else:
                    yield score + rest, [t, *starts], [t + max(move, 1), *ends]

    best = [max(paths(b, 0, 0), default=(-torch.inf, [], [])) for b in range(len(LENGTHS))]
    found = align_transducer(
        predictor, joiner, x, lengths, tokens, token_lengths, "modified" if durations else kind, durations
    )
    check(found, best)
    assert sum(score > -torch.inf for score, _, _ in best) >= 3
