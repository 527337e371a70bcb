"""What chains say of themselves (reach, period, look-ahead, first feed), and the errors of a step that cannot be."""

import pytest
import torch

from audiorec.streaming import Parallel, Residual, Sequential, take
from audiorec.testing.lookahead import Ahead, ChunkMean
from tests.contract.modules import MODULES, encoder, linear, log_mel


def test_look_ahead_of_layers_that_share_a_chunk_is_the_chunks_not_their_sum():
    assert Sequential(*(ChunkMean(4, 7) for _ in range(5))).lookahead == 6
    assert Sequential(*(Ahead(4, 2) for _ in range(5))).lookahead == 10
    assert Residual(Ahead(4, 3)).lookahead == 3


def test_a_model_from_samples_waits_for_its_features_and_convolutions():
    model = Sequential(log_mel(8000), encoder("lstm", strides=[3]))
    assert (model.stride, model.block, model.period) == (240, 80, 240)
    assert model.reach(0) == 2 * 80 + 139
    assert model.first_feed == 320  # four hops give three frames


@pytest.mark.parametrize("name", MODULES)
def test_fed_first_feed_then_periods_every_step_gives_whole_periods(name):
    module = MODULES[name]()
    frames = module.period // module.stride
    state = ragged = None
    for i in range(4):
        size = module.first_feed if i == 0 else module.period
        x = torch.randn(1, size, module.input_dim)
        y, _, state = module.step(x, None, state)
        assert y.shape[1] == frames
        y, n, ragged = module.step(x, torch.tensor([size]), ragged)
        assert n.item() == frames
        assert i == 0 or y.shape[1] <= 2 * frames  # no module computes many empty blocks


@pytest.mark.parametrize("name", MODULES)
def test_ready_counts_what_step_gives(name):
    module = MODULES[name]()
    state, given, fed = None, 0, 0
    for _ in range(3 * max(1, module.first_feed // module.block)):
        y, _, state = module.step(torch.randn(1, module.block, module.input_dim), None, state)
        given, fed = given + y.shape[1], fed + module.block
        assert given == module.ready(fed)


def test_errors_are_one_clear_line():
    module = Sequential(ChunkMean(4, 3), linear())
    state, n = module.initial_state(2, ragged=True), torch.tensor([3, 3])
    for message, call in {
        "must be \\(B, T, 4\\)": lambda: module.step(torch.zeros(2, 3, 5), n, state),
        "multiples of 3 frames, got 4": lambda: module.step(torch.zeros(2, 4, 4), n, state),
        "lengths must be \\(2,\\)": lambda: module.step(torch.zeros(2, 3, 4), n[:1], state),
        "lie in 0..3": lambda: module.step(torch.zeros(2, 3, 4), n + 1, state),
        "takes 5 channels": lambda: Sequential(linear(4, 4), linear(5, 4)),
        "one stride": lambda: Parallel(linear(), encoder("lstm", 4)),
    }.items():
        with pytest.raises(ValueError, match=message):
            call()
    lstm = encoder("lstm")
    with pytest.raises(ValueError, match="rows"):
        lstm.step(torch.zeros(2, 4, 7), torch.tensor([4, 4]), take(lstm.initial_state(2, ragged=True), [0]))
