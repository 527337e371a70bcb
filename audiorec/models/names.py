"""Weights of model folders from before the encoders shared one ``Stack``: old names → today's."""

import re
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")

_LAYER = r"^(encoder\.layer\d+)\."
_RENAMED = [
    (_LAYER + r"module\.norm\.module\.", r"\1.norm."),
    (_LAYER + r"module\.(?:lstm|gru|flash_lstm|flash_gru|mamba|lmu)\.", r"\1.mixer."),
    (_LAYER + r"module\.(?:projection|out)\.module\.", r"\1.out."),
    (r"^(encoder\.mixer\d+)\.module\.module\.([01])\.", r"\1.module.net.\2."),
    (r"^(encoder\.mixer\d+)\.module\.module\.3\.", r"\1.module.net.4."),
    (_LAYER + r"conv_norm\.", r"\1.conv.norm."),
    (_LAYER + r"conv\.(weight|bias)$", r"\1.conv.mixer.conv.\2"),
    (_LAYER + r"rnn_norm\.", r"\1.rnn.norm."),
    (_LAYER + r"rnn\.inputs\.", r"\1.rnn.mixer.inputs."),
    (_LAYER + r"rnn_out\.0\.", r"\1.rnn.out."),
    (_LAYER + r"mlp\.([01])\.", r"\1.mlp.module.net.\2."),
    (_LAYER + r"mlp\.3\.", r"\1.mlp.module.net.4."),
]


def todays_names(weights: Mapping[str, T]) -> dict[str, T]:
    """The same weights under the names that the modules have today; today's names stay."""
    return {_todays(name): value for name, value in weights.items()}


def _todays(name: str) -> str:
    for old, new in _RENAMED:
        name = re.sub(old, new, name)
    return name
