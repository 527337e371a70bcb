"""``trainer.precision: auto``: what the processor at hand computes in."""

import multiprocessing
import os

import pytest
import torch

from audiorec.training.precision import resolve_precision, spare_workers


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


@pytest.mark.parametrize(
    ("accelerator", "devices", "threads", "expected"),
    [("cpu", 1, 8, 0), ("cpu", 1, 2, 1), ("cpu", 8, 1, 0), ("cpu", 4, 1, 1), ("cuda", 1, 8, 4), ("cuda", 4, 8, 1)],
)
def test_workers_take_the_cores_that_are_spare(monkeypatch, accelerator, devices, threads, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda: "fork")
    assert spare_workers(accelerator, devices) == expected
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda: "spawn")
    assert spare_workers(accelerator, devices) == 0
