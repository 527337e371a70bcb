"""The laws fail where they should: each broken module breaks exactly the laws named beside it."""

import pytest
import torch

from .broken import BROKEN
from .laws import LAWS, Case


def broken_laws(make) -> set[str]:
    broken = set()
    for name, law in LAWS.items():
        torch.manual_seed(0)
        try:
            law(Case(make(), torch.float64))
        except (AssertionError, RuntimeError, IndexError):  # a wrong shape may surface as torch's own error
            broken.add(name)
    return broken


@pytest.mark.parametrize("name", BROKEN)
def test_breaks_exactly_its_law(name):
    make, expected = BROKEN[name]
    assert broken_laws(make) == expected
