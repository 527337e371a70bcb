"""``trainer.precision: auto``: what the processor at hand computes in."""

import pytest
import torch

from audiorec.training.precision import resolve_precision


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_is_asked_for_is_kept(precision):
    assert resolve_precision(precision, "auto") == precision


@pytest.mark.parametrize(
    ("capabilities", "expected"), [({"avx512_bf16": True}, "bf16"), ({"avx512_f": True}, "fp32"), ({}, "fp32")]
)
def test_auto_asks_the_processor(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert resolve_precision("auto", "cpu") == expected


def test_auto_is_fp32_where_torch_cannot_say(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert resolve_precision("auto", "cpu") == "fp32"
