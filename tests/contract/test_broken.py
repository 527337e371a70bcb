"""The laws fail where they should: each broken module breaks exactly the laws named beside it."""

import pytest

from audiorec.testing import LAWS, check_law, check_laws

from .broken import BROKEN


def broken_laws(make) -> set[str]:
    broken = set()
    for law in LAWS:
        try:
            check_law(law, make)
        except AssertionError:
            broken.add(law)
    return broken


@pytest.mark.parametrize("name", BROKEN)
def test_breaks_exactly_its_law(name):
    make, expected = BROKEN[name]
    assert broken_laws(make) == expected


@pytest.mark.parametrize("name", BROKEN)
def test_a_plugin_author_is_told_which_law_broke(name):
    make, expected = BROKEN[name]
    with pytest.raises(AssertionError, match=f"^({'|'.join(expected)}), float64: "):
        check_laws(make)
