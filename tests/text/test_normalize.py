"""Normalisation: what each option does, and that doing it twice changes nothing."""

import pytest
from pydantic import ValidationError

from audiorec.text import Normalizer

# The planes beyond hold no character with a case, a decomposition or a sign of punctuation.
EVERY_CHARACTER = " x ".join(chr(code) for code in range(0x30000) if not 0xD800 <= code < 0xE000)


@pytest.mark.parametrize(
    ("options", "text", "expected"),
    [
        ({}, "  Don’t\tstop,\u00a0now \n", "Don’t stop, now"),
        ({"punctuation": False}, "Don’t stop—now! “It's” well-known.", "Don't stop now It's well known"),
        ({"case": "lower"}, "ÀÉ Straße", "àé straße"),
        ({"case": "upper"}, "àé straße", "ÀÉ STRASSE"),
        ({}, "cafe\u0301 ﬁne", "caf\u00e9 ﬁne"),
        ({"unicode": "NFKC"}, "cafe\u0301 ﬁne ２", "caf\u00e9 fine 2"),
        ({"case": "lower"}, "J\u030c", "\u01f0"),
    ],
)
def test_options(options, text, expected):
    assert Normalizer(**options)(text) == expected


@pytest.mark.parametrize("options", [{"case": "lower"}, {"case": "upper", "unicode": "NFKC", "punctuation": False}])
def test_twice_is_once(options):
    once = Normalizer(**options)(EVERY_CHARACTER)
    assert Normalizer(**options)(once) == once


@pytest.mark.parametrize("options", [{"case": "title"}, {"unicode": "NFD"}, {"lower": True}])
def test_options_it_does_not_know(options):
    with pytest.raises(ValidationError):
        Normalizer(**options)
