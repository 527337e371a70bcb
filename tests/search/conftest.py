"""The laws of search hold for a beam's native kernel and for torch's form, which is its definition."""

import pytest
from audiorec_kernels import backend
from audiorec_kernels.native import ABSENT, LIBRARY


@pytest.fixture(params=["native", "reference"])
def form(request):
    """What serves the beams in a test."""
    if request.param == "native" and LIBRARY is None:
        pytest.skip(ABSENT)
    with backend(request.param):
        yield


def pytest_collection_modifyitems(items):
    """Greedy searches have one form, and what a recurrent language model steers has torch's alone."""
    items[:] = [item for item in items if not _twice(item)]


def _twice(item) -> bool:
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    name = parameters.get("name", "beam")
    if "fused" in name:
        return parameters.get("form") == "native"
    return parameters.get("form") == "reference" and "beam" not in name
