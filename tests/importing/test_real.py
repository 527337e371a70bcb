"""The recorded values are still what NeMo and transformers give, where they are installed."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch

from .nemo import CONTEXTS, GOLDEN, recorded, speech


def compare(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        if "tokens" in key or value.dtype.kind not in "f":
            assert np.array_equal(found[key], value), key
        else:
            assert np.abs(found[key] - value).max() < 1e-4 * np.abs(value).max(), key


@pytest.mark.slow
@pytest.mark.skipif(find_spec("nemo") is None, reason="needs nemo_toolkit[asr]")
@pytest.mark.parametrize("name", CONTEXTS)
def test_nemo(name):
    from nemo.collections.asr.models import ASRModel

    from tools.golden.fastconformer import outputs

    model = ASRModel.restore_from(str(GOLDEN / f"{name}.nemo"), map_location="cpu")
    compare(outputs(model, speech()[0], [list(context) for context in CONTEXTS[name]]), recorded(name))


@pytest.mark.slow
@pytest.mark.skipif(find_spec("transformers") is None, reason="needs transformers")
def test_transformers():
    from tools.golden.nemotron import outputs

    with torch.no_grad():
        compare(outputs(GOLDEN), recorded("nemotron"))
