"""Every law on every registered module, in both precisions; on encoders of full size in the one that decodes."""

import pytest
import torch

from .laws import LAWS, Case
from .modules import LARGE, MODULES


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", MODULES)
def test_law(name, law, dtype):
    torch.manual_seed(0)
    LAWS[law](Case(MODULES[name](), dtype))


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", LARGE)
def test_law_at_full_size(name, law):
    torch.manual_seed(0)
    LAWS[law](Case(LARGE[name](), torch.float32))
