"""k2's interface gives k2's numbers: losses, gradients and ranges recorded from k2 itself (golden/k2/README.md)."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from audiorec.losses import (
    do_rnnt_pruning,
    get_rnnt_logprobs,
    get_rnnt_prune_ranges,
    rnnt_loss,
    rnnt_loss_pruned,
    rnnt_loss_simple,
    rnnt_loss_smoothed,
)
from audiorec.losses.transducer import RNNT_TYPES

GOLDEN = Path(__file__).parent.parent / "golden" / "k2"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.npz"))
ELSEWHERE = ["medium_s0_f32", "medium_s0_f64"]
SMOOTHING = {"lm_only_scale": 0.25, "am_only_scale": 0.1}


class Case:
    """One file at one rnnt_type and delay penalty: inputs, recorded values, and how near ours must be."""

    def __init__(self, values: dict[str, torch.Tensor], rnnt_type: str, delay_penalty: float):
        self.values = values
        self.prefix = f"{rnnt_type}/dp{delay_penalty}/"
        self.am, self.lm = (values[name].clone().requires_grad_() for name in ("am", "lm"))
        self.symbols = values["symbols"]
        self.boundary = {"boundary": values["boundary"], "rnnt_type": rnnt_type}
        self.arguments = {**self.boundary, "delay_penalty": delay_penalty, "reduction": "none"}
        self.tolerance = 1e-9 if self.am.dtype == torch.float64 else 2e-3

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.values[self.prefix + name]

    def __contains__(self, name: str) -> bool:
        return self.prefix + name in self.values

    def check(self, name: str, given: torch.Tensor) -> None:
        recorded = self[name]
        finite = torch.isfinite(recorded)
        assert given.shape == recorded.shape and torch.equal(torch.isfinite(given), finite), name
        if finite.any():
            scale = recorded[finite].abs().max().clamp(min=1e-3)
            assert float((given.detach() - recorded)[finite].abs().max() / scale) <= self.tolerance, name

    def check_gradients(self, name: str, loss: torch.Tensor, **inputs: torch.Tensor) -> None:
        self.check(f"{name}/loss", loss)
        for key, gradient in zip(
            inputs, torch.autograd.grad(loss.sum(), inputs.values(), retain_graph=True), strict=True
        ):
            self.check(f"{name}/{key}_grad", gradient)


@pytest.fixture(scope="module", params=[*NAMES, *ELSEWHERE])
def cases(request) -> list[Case]:
    folder = request.getfixturevalue("shared") / "golden" / "k2" if request.param in ELSEWHERE else GOLDEN
    with np.load(folder / f"{request.param}.npz") as file:
        values = {name: torch.from_numpy(x) for name, x in file.items() if x.dtype.kind != "U"}
    found = {name.split("/dp")[0] for name in values} & set(RNNT_TYPES)
    assert found
    return [Case(values, rnnt_type, penalty) for rnnt_type in sorted(found) for penalty in (0.0, 0.015)]


def bands(case: Case) -> Iterator[tuple[str, int]]:
    """The widths recorded."""
    return ((f"prune{width}/", width) for width in (2, 3, 5, 8) if f"prune{width}/ranges" in case)


def test_log_probs(cases):
    for case in cases[::2]:
        px, py = get_rnnt_logprobs(case.lm, case.am, case.symbols, 0, **case.boundary)
        case.check("px", px)
        case.check("py", py)


@pytest.mark.parametrize(
    "name, loss, scales", [("simple", rnnt_loss_simple, {}), ("smoothed", rnnt_loss_smoothed, SMOOTHING)]
)
def test_simple_and_smoothed(cases, name, loss, scales):
    for case in cases:
        value, (of_px, of_py) = loss(case.lm, case.am, case.symbols, 0, return_grad=True, **scales, **case.arguments)
        case.check(f"{name}/px_grad", of_px)
        case.check(f"{name}/py_grad", of_py)
        case.check_gradients(name, value, am=case.am, lm=case.lm)
        total = loss(case.lm, case.am, case.symbols, 0, **scales, **{**case.arguments, "reduction": "sum"})
        mean = loss(
            case.lm, case.am, case.symbols, 0, **scales, **case.boundary, delay_penalty=case.arguments["delay_penalty"]
        )
        torch.testing.assert_close(total, value.sum())
        torch.testing.assert_close(mean, value.mean())


def test_ranges_exactly(cases):
    for case in cases:
        for band, width in bands(case):
            for name, kind in (("ranges", "simple"), ("ranges_smoothed", "smoothed")):
                occupancies = case[f"{kind}/px_grad"], case[f"{kind}/py_grad"]
                ranges = get_rnnt_prune_ranges(*occupancies, case.boundary["boundary"], width)
                assert torch.equal(ranges, case[band + name])


def test_ranges_of_our_own_occupancies(cases):
    """In float64: at float32 recorded values hold one exact tie, which rounding decides."""
    for case in cases:
        if case.am.dtype == torch.float64:
            for band, width in bands(case):
                _, occupancies = rnnt_loss_simple(case.lm, case.am, case.symbols, 0, return_grad=True, **case.arguments)
                ranges = get_rnnt_prune_ranges(*occupancies, case.boundary["boundary"], s_range=width)
                assert torch.equal(ranges, case[band + "ranges"])


def test_pruned_with_two_joiners_and_hat(cases):
    for case in cases:
        for band, _ in bands(case):
            ranges = case[band + "ranges"]
            am, lm = do_rnnt_pruning(case.am, case.lm, ranges)
            joined = {"add": am + lm, "tanh": 3 * torch.tanh(am + lm) + am * torch.sigmoid(lm)}
            for name, logits in joined.items():
                loss = rnnt_loss_pruned(logits, case.symbols, ranges, 0, **case.arguments)
                case.check_gradients(f"{band}pruned_{name}", loss, am=case.am, lm=case.lm, logits=logits)
            hat = rnnt_loss_pruned(joined["tanh"], case.symbols, ranges, 0, use_hat_loss=True, **case.arguments)
            case.check(f"{band}pruned_hat/loss", hat)


def test_full(cases):
    for case in cases:
        am, lm = case.am[:, :, None], case.lm[:, None]
        logits = 3 * torch.tanh(am + lm) + am * torch.sigmoid(lm)
        case.check_gradients("full_tanh", rnnt_loss(logits, case.symbols, 0, **case.arguments), logits=logits)
