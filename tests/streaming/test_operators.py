"""A live step stays as short as its arithmetic: torch operators of a period, which nobody lets grow unseen."""

from collections import Counter

import pytest
import torch
from audiorec_kernels.native import ABSENT, LIBRARY
from torch.utils._python_dispatch import TorchDispatchMode

from audiorec.config import parse
from audiorec.encoders import ENCODERS
from audiorec.models import AsrModel, ModelConfig
from tests.search.searches import DIM, SEARCHES

# Operators that give another look at the same memory, and compute nothing.
VIEWS = {
    "view",
    "_unsafe_view",
    "t",
    "transpose",
    "permute",
    "slice",
    "select",
    "unfold",
    "unbind",
    "unsqueeze",
    "expand",
}
VIEWS |= {"alias", "split", "split_with_sizes", "as_strided", "squeeze", "detach", "chunk", "_reshape_alias"}

# Operators of a period that compute: of features, subsampling and norm together, and of each layer. Kernels of our own are
# none. Why some have more: attention turns queries and keys by their places, and masks the cache of a stream that has just
# begun; a conformer has two feed-forwards and a convolution besides; a BLSTM runs each chunk in both directions, cell by cell
# where its windows are short, which is faster; recurrences in heads are made for GPUs, and their reference on a CPU has an
# operator for every gate; icefall's activations and norms have three operators and five.
BASE = {"blstm": 24, "fastconformer": 40, "icefall_lstm": 32}
LAYER = {
    "lstm": 6,
    "gru": 5,
    "mamba": 13,
    "lmu": 11,
    "min_gru": 19,
    "min_lstm": 24,
    "transformer": 34,
    "conformer": 50,
    "fastconformer": 56,
    "blstm": 43,
    "flash_lstm": 17,
    "flash_gru": 19,
    "icefall_lstm": 18,
}


class Operators(TorchDispatchMode):
    """Counts the operators that compute."""

    def __init__(self):
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name not in VIEWS:
            self.counts[name] += 1
        return function(*args, **(kwargs or {}))

    @property
    def total(self) -> int:
        return sum(self.counts.values())


@torch.no_grad()
def period(kind: str, layers: int) -> Operators:
    """The operators of one period of a live stream."""
    config = {"encoder": {"kind": kind, "layers": layers}, "heads": "ctc"}
    model = AsrModel(parse(ModelConfig, config), vocabulary=50).eval()
    _, _, state = model.step(torch.randn(1, model.first_feed, 1))
    x = torch.randn(1, model.period, 1)
    with Operators() as operators:
        model.advance(x, None, state)
    return operators


def test_every_kind_has_a_bound():
    assert set(LAYER) == set(ENCODERS.kinds) - {"stack"}


@pytest.mark.parametrize("kind", LAYER)
def test_a_period_costs_few_operators(kind):
    two, three = period(kind, 2), period(kind, 3)
    layer = three.total - two.total
    assert layer <= LAYER[kind], three.counts - two.counts
    assert two.total - 2 * layer <= BASE.get(kind, 23), two.counts


# Of a frame in which no token comes. A beam copies its state, which the native kernel then changes, whatever helps it; a
# transducer asks its joiner; TDT searches frame by frame, since it jumps. A beam that a language model steers has torch's form.
FRAME = {
    "ctc greedy": 13,
    "greedy": 17,
    "greedy, lstm predictor": 17,
    "greedy, one symbol a frame": 17,
    "greedy, two lstm layers from zeros, relu": 17,
    "tdt greedy": 35,
    "tdt greedy, lstm predictor": 35,
    "greedy, blanks skipped": 54,
    "ctc beam": 19,
    "ctc beam of one": 19,
    "ctc beam, little room": 19,
    "ctc beam, none far below": 19,
    "ctc beam, n-gram and hotwords": 19,
    "ctc beam, room for automata": 19,
    "ctc beam, words": 23,
    "ctc beam, words and hotwords, little room": 23,
    "ctc beam, automata of rows": 19,
    "beam": 21,
    "beam, lstm predictor": 21,
    "beam, little room": 51,
    "beam, none far below": 27,
    "beam, n-gram and hotwords": 21,
    "beam, words": 25,
    "beam, less of its internal language model": 31,
    "beam, automata of rows": 21,
    "beam, blanks skipped": 29,
    "frames": 13,
    "frames, smoothed": 13,
    "ctc beam, fused": 154,
    "ctc beam, fused, words and hotwords": 379,
    "beam, fused, less of its internal language model": 211,
    "ctc beam, rescored": 16,
    "ctc beam, words, rescored": 20,
    "beam, blanks skipped, rescored": 29,
}


@pytest.mark.parametrize("name", SEARCHES)
def test_a_frame_without_a_token_costs_few_operators(name):
    if "beam" in name and LIBRARY is None:
        pytest.skip(ABSENT)
    search = SEARCHES[name]()
    blank = torch.zeros(1, 1, DIM)
    blank[..., 0] = 10
    if hasattr(search, "joiner"):
        with torch.no_grad():
            search.joiner.output.bias[0] = 100
    state = search.initial_state(1)
    _, state = search.step(blank, None, state)
    with Operators() as operators:
        tokens, _ = search.step(blank, None, state)
    assert tokens.ids.shape[1] == 0
    assert operators.total <= FRAME[name], operators.counts
