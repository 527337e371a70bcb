"""Patterns name weights and modules; one that names nothing is corrected."""

import pytest
from torch import nn

from audiorec.errors import ConfigError
from audiorec.training.patterns import named_by

MODEL = nn.ModuleDict(
    {f"layer{i}": nn.Linear(2, 2) for i in range(13)} | {"heads": nn.ModuleDict({"ctc": nn.Linear(2, 2)})}
)
NAMES = [name for name, _ in MODEL.named_parameters()]


@pytest.mark.parametrize(
    "pattern, expected",
    [
        ("layer[0-11].*", [f"layer{i}.{name}" for i in range(12) for name in ("weight", "bias")]),
        ("layer[9-12]", [f"layer{i}.{name}" for i in range(9, 13) for name in ("weight", "bias")]),
        ("layer1", ["layer1.weight", "layer1.bias"]),
        ("layer1*.bias", [f"layer{i}.bias" for i in (1, 10, 11, 12)]),
        ("heads", ["heads.ctc.weight", "heads.ctc.bias"]),
        ("*.ctc.weight", ["heads.ctc.weight"]),
        ("*", NAMES),
    ],
)
def test_a_pattern_names_weights_and_all_weights_in_a_module(pattern, expected):
    assert named_by([pattern], NAMES, MODEL, "trainer.freeze") == expected


def test_several_patterns_add_up_in_the_order_of_the_names():
    assert named_by(["heads", "layer0.bias", "layer0"], NAMES, MODEL, "k") == [*NAMES[:2], *NAMES[-2:]]
    assert named_by([], NAMES, MODEL, "k") == []


@pytest.mark.parametrize(
    "pattern, message",
    [
        (
            "layer[0-11].weigth",
            r"^trainer\.freeze: 'layer\[0-11\]\.weigth' names nothing here; near it are layer0\.weight",
        ),
        ("head.ctc", r"near it are heads\.ctc"),
        ("layer[13-20]", r"near it are layer"),
        ("qqq", r"there are layer0, .*, heads$"),
        ("layer", r"near it are layer"),
        ("layer[3-1]", r"'layer\[3-1\]' has no number in \[3-1\]; write the smaller one first"),
        ("layer.0", "names nothing here"),  # a point is a point
    ],
)
def test_one_that_names_nothing_tells_the_nearest_names(pattern, message):
    with pytest.raises(ConfigError, match=message) as error:
        named_by(["layer0", pattern], NAMES, MODEL, "trainer.freeze")
    assert "\n" not in str(error.value)
