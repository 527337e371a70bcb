"""Every law on every registered module, in both precisions; on encoders of full size in the one that decodes."""

import pytest
import torch

from audiorec.testing import LAWS, check_law

from .modules import LARGE, MODULES


def has_lead(name: str) -> bool:
    """Ragged rows then have one frame more to convolve than whole ones, which torch adds up in another order."""
    return "lead" in name or "fastconformer" in name


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", MODULES)
def test_law(name, law, dtype):
    check_law(law, MODULES[name], dtype, exact=not has_lead(name))


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", LARGE)
def test_law_at_full_size(name, law):
    # oneDNN takes a BLSTM's long windows, which have one input more where rows are ragged, in another order.
    check_law(law, LARGE[name], torch.float32, exact=not (name.startswith("blstm") or has_lead(name)))
