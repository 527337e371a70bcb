"""What holds for all kinds alike: clear errors for what cannot be, and a state that an hour leaves as it was."""

import pytest
import torch

from audiorec.encoders import ENCODERS, build
from audiorec.errors import ConfigError
from audiorec.streaming import leaves, put, state_bytes, take
from tests.contract.modules import TINY, encoder

KINDS = pytest.mark.parametrize("kind", TINY)
NAMED = pytest.mark.parametrize("kind", [kind for kind in TINY if kind != "stack"])  # whose own config has its options
N = torch.tensor([4, 4])


def x(frames: int = 4, channels: int = 7) -> torch.Tensor:
    return torch.zeros(2, frames, channels)


def test_these_are_all_kinds():
    assert set(TINY) == set(ENCODERS.kinds)


# What is wrong, what the error says, and the step that raises it.
STEPS = {
    "feature size": ("x must be", lambda e, s: e.step(x(channels=6), N, s)),
    "feature size offline": ("x must be", lambda e, s: e(x(channels=6), N)),
    "no whole block": (r"multiples of \d frames, got 3; pad", lambda e, s: e.step(x(3), N.clamp(max=3), s)),
    "lengths beyond the end": ("lengths must lie in 0..4, got", lambda e, s: e.step(x(), N + 1, s)),
    "lengths beyond the end offline": ("lengths must lie in 0..3, got", lambda e, s: e(x(3), N)),
    "lengths below zero": ("lengths must lie in 0..4, got", lambda e, s: e.step(x(), -N, s)),
    "lengths of another batch": (r"lengths must be \(2,\), got \(1,\)", lambda e, s: e.step(x(), N[:1], s)),
    "state of another batch": ("has 1 rows, the input 2", lambda e, s: e.step(x(), N, take(s, [0]))),
    "no state": ("the state of another model", lambda e, s: e.step(x(), N, {})),
}


@pytest.mark.parametrize("wrong", STEPS)
@KINDS
def test_a_step_that_cannot_be_is_one_clear_error(kind, wrong):
    message, call = STEPS[wrong]
    module = encoder(kind, strides=[2, 2], kernel=3)
    if wrong == "no whole block" and module.block == 1:
        pytest.skip("takes any number of frames")
    with pytest.raises(ValueError, match=message) as error:
        call(module, module.initial_state(2, ragged=True))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("other", ["wider", "more layers", "another kind", "another subsampling"])
@NAMED
def test_a_state_of_another_model_is_one_clear_error(kind, other):
    module = encoder(kind)
    another = {
        "wider": lambda: encoder(kind, dim=12),
        "more layers": lambda: encoder(kind, layers=3),
        "another kind": lambda: encoder("gru" if kind == "lstm" else "lstm"),
        "another subsampling": lambda: encoder(kind, strides=[3, 2], kernel=4),
    }[other]()
    with pytest.raises(ValueError, match="another model") as error:
        module.step(x(module.block * 4), torch.zeros(2, dtype=torch.int64), another.initial_state(2, ragged=True))
    assert "\n" not in str(error.value)


@NAMED
def test_an_unknown_option_is_named_with_those_there_are(kind):
    with pytest.raises(ConfigError, match=r"^encoder\.dmi: unknown key; accepted here: .*dim.*layers") as error:
        build({"kind": kind, "dmi": 3}, 80)
    assert "\n" not in str(error.value)


@NAMED
def test_a_bad_option_is_named_with_its_value(kind):
    with pytest.raises(ConfigError, match=r"encoder\.layers: .*, got 0"):
        build({"kind": kind, "layers": 0}, 80)


def test_an_unknown_kind_is_named_with_those_there_are():
    with pytest.raises(
        ConfigError,
        match=r"encoder\.kind: unknown kind 'lsmt'; it accepts blstm, conformer, fastconformer, .*transformer",
    ):
        build({"kind": "lsmt"}, 80)
    with pytest.raises(ConfigError, match="encoder: needs a mapping with a key `kind`"):
        build({"dim": 80}, 80)


@KINDS
def test_an_hour_leaves_the_state_as_large_as_it_was(kind):
    """360,000 frames of 10 ms in steps of half a minute and of a period: structure, shapes, types and bytes."""
    torch.manual_seed(0)
    module = encoder(kind, strides=[2, 2, 2], kernel=3, **({} if kind == "stack" else {"layers": 1})).eval()

    def signature(state) -> list[tuple]:
        return [(name, leaf.shape, leaf.dtype) for name, leaf in leaves(state)]

    state = module.initial_state(2, ragged=True)
    first, size = signature(state), state_bytes(state)
    step = 3000 // module.period * module.period
    with torch.inference_mode():
        for at in range(0, 360_000, step + module.period):
            for frames in (step, module.period):
                lengths = torch.tensor([frames, frames if at < 100_000 else 0])  # the second row's speaker is done
                y, n, state = module.step(torch.randn(2, frames, 7), lengths, state)
            assert signature(state) == first and state_bytes(state) == size
            assert n[0] == module.period // module.stride and torch.isfinite(y).all()
        fresh = put(state, [1], module.initial_state(1, ragged=True))  # another takes the seat
        assert signature(fresh) == first
