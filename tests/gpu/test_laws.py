"""The laws of streaming on a GPU, in float32: every law, on one module of each kind that has kernels or states of its own."""

import sys
from functools import partial

import pytest
import torch
from audiorec_kernels import full_precision

from audiorec.testing import LAWS, Case

from ..contract.modules import MODULES
from ..device import DEVICE

pytestmark = pytest.mark.cuda
NAMES = (
    *("log-mel 16 kHz", "subsampling 8", "conformer chunk", "windows 3 + 2", "lstm encoder 4", "gru encoder 4"),
    *("flash_lstm", "flash_gru", "min_gru", "min_lstm", "whole model"),
    *(name for name in MODULES if name in ("mamba", "lmu")),
)


class _Torch:
    """torch as the laws' module sees it: its generators, too, are of the device."""

    Generator = partial(torch.Generator, DEVICE)

    def __getattr__(self, name: str) -> object:
        return getattr(torch, name)


@pytest.fixture(autouse=True)
def _all_is_drawn_on_the_device(monkeypatch):
    monkeypatch.setattr(sys.modules[Case.__module__], "torch", _Torch())
    torch.manual_seed(0)
    with torch.device(DEVICE), full_precision(DEVICE):
        yield


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", NAMES)
def test_law(name, law):
    LAWS[law](Case(MODULES[name]().to(DEVICE), torch.float32))
