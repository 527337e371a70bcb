"""Lattices against all their paths counted, laws of the occupancies, float32 over a long lattice, the native kernel."""

import math
from importlib import import_module

import pytest
import torch
from audiorec_kernels import backend
from audiorec_kernels.lattice import arc_lattice, transducer_lattice
from audiorec_kernels.native import ABSENT, LIBRARY

from ..device import DEVICE, pytestmark  # noqa: F401
from .families import INTERPRETED, TRITON

REGULAR = [(1, 0), (0, 1)]
MODIFIED = [(1, 1), (0, 1)]
COMPILED = ["triton" if TRITON else pytest.param("native", marks=pytest.mark.skipif(LIBRARY is None, reason=ABSENT))]
BACKENDS = ["reference", *COMPILED]
kinds = pytest.mark.parametrize("regular", [True, False], ids=["regular", "modified"])
backends = pytest.mark.parametrize("name", BACKENDS)


@pytest.fixture(autouse=True)
def _on_the_device():
    """There, memory is NaN until it is written."""
    torch.use_deterministic_algorithms(True)
    with torch.device(DEVICE):
        yield
    torch.use_deterministic_algorithms(False)


def draw(
    batch: int, symbols: int, frames: int, regular: bool, dtype=torch.float64
) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(symbols + frames)
    px = torch.randn(batch, symbols, frames + regular, dtype=dtype) - 1
    py = torch.randn(batch, symbols + 1, frames, dtype=dtype) - 1
    return px.requires_grad_(), py.requires_grad_()


def all_paths(arcs: torch.Tensor, moves: list[tuple[int, int]], box: list[int]) -> torch.Tensor:
    """log Σ over every path from (box[0], box[1]) to (box[2], box[3]), one after another; arcs (K, S+1, T+1)."""
    totals = []

    def walk(s: int, t: int, total: torch.Tensor) -> None:
        if [s, t] == box[2:]:
            totals.append(total)
        for k, (ds, dt) in enumerate(moves):
            if s + ds <= box[2] and t + dt <= box[3]:
                walk(s + ds, t + dt, total + arcs[k, s, t])

    walk(box[0], box[1], arcs.new_zeros(()))
    return torch.logsumexp(torch.stack(totals), 0) if totals else arcs.sum() * 0 - math.inf


def as_arcs(px: torch.Tensor, py: torch.Tensor) -> torch.Tensor:
    """(B, 2, S+1, T+1), zero where there are no arcs: ``all_paths`` does not go there."""
    arcs = px.new_zeros(len(px), 2, py.shape[1], py.shape[2] + 1)
    arcs[:, 0, : px.shape[1], : px.shape[2]] = px
    arcs[:, 1, :, : py.shape[2]] = py
    return arcs


def error(given: torch.Tensor, exact: torch.Tensor) -> float:
    return float((given - exact).detach().abs().max() / exact.abs().max().clamp(min=1e-3)) if exact.numel() else 0.0


@backends
@kinds
@pytest.mark.parametrize("symbols, frames", [(0, 3), (1, 1), (3, 4), (4, 3), (4, 4), (2, 0)])
def test_is_the_sum_over_all_paths_within_each_rows_box(symbols, frames, regular, name):
    dtype = torch.float64 if name == "reference" else torch.float32
    tolerance = {"rtol": 1e-9, "atol": 1e-12} if name == "reference" else {"rtol": 1e-5, "atol": 1e-6}
    px, py = draw(4, symbols, frames, regular, dtype)
    s, t = symbols // 2, frames // 2
    boundary = torch.tensor([[0, 0, symbols, frames], [0, 0, s, t], [s, t, symbols, frames], [s, t, s, t]])
    with backend(name):
        score, occupancies = transducer_lattice(px, py, boundary)
    moves = REGULAR if regular else MODIFIED
    rows = zip(as_arcs(px.double(), py.double()), boundary.tolist(), strict=True)
    expected = torch.stack([all_paths(arcs, moves, box) for arcs, box in rows])
    torch.testing.assert_close(score.double(), expected, **tolerance)
    assert score[3] == 0 and not any(occupancy.requires_grad for occupancy in occupancies)
    finite = torch.isfinite(expected)
    gradients = torch.autograd.grad(expected[finite].sum(), (px, py), retain_graph=True, materialize_grads=True)
    for occupancy, gradient in zip(occupancies, gradients, strict=True):
        torch.testing.assert_close(occupancy, gradient, **tolerance)
    weights = torch.arange(1, 5, dtype=dtype)
    for got, occupancy in zip(torch.autograd.grad(score @ weights, (px, py)), occupancies, strict=True):
        torch.testing.assert_close(got, occupancy * weights[:, None, None])


@kinds
def test_gradcheck(regular):
    px, py = draw(3, 3, 4, regular)
    boundary = torch.tensor([[0, 0, 3, 4], [0, 0, 2, 2], [1, 1, 3, 4]])
    assert torch.autograd.gradcheck(lambda px, py: transducer_lattice(px, py, boundary)[0], (px, py))


SORTS = {
    "any": [(1, 0), (1, 1), (1, 2), (0, 1), (0, 2)],
    "by frame": [(1, 2), (0, 1), (0, 3)],
    "two symbols": [(2, 1), (1, 0), (0, 1)],
    "TDT": [*((1, d) for d in range(5)), *((0, d) for d in range(1, 5))],
    "many": [(s, t) for s in range(4) for t in range(6) if s + t],
}
sorts = pytest.mark.parametrize("moves", SORTS.values(), ids=SORTS)


@backends
@sorts
def test_any_arcs_are_the_sum_over_all_paths(moves, name):
    torch.manual_seed(0)
    dtype = torch.float64 if name == "reference" else torch.float32
    tolerance = {"rtol": 1e-9, "atol": 1e-12} if name == "reference" else {"rtol": 1e-5, "atol": 1e-6}
    arcs = torch.randn(len(moves), 4, 4, 6, dtype=dtype).requires_grad_()
    boundary = torch.tensor([[0, 0, 3, 5], [0, 1, 2, 3], [1, 2, 3, 5], [2, 2, 2, 2]])
    with backend(name):
        score = arc_lattice(arcs, moves, boundary)
    rows = zip(arcs.double().unbind(1), boundary.tolist(), strict=True)
    expected = torch.stack([all_paths(of_row, moves, box) for of_row, box in rows])
    torch.testing.assert_close(score.double(), expected, **tolerance)
    finite, weights = torch.isfinite(expected), torch.arange(1, 5)
    got, exact = (torch.autograd.grad((x * weights)[finite].sum(), arcs)[0] for x in (score, expected))
    torch.testing.assert_close(got, exact, **tolerance)


@backends
def test_arcs_without_a_path_are_never_and_touch_nothing(name):
    moves = SORTS["TDT"]
    arcs = torch.randn(len(moves), 3, 4, 6)
    arcs[:5, 1, 1] = -math.inf  # the second symbol never comes
    arcs.requires_grad_()
    boundary = torch.tensor([[0, 0, 3, 5], [0, 0, 3, 5], [0, 0, 3, 0]])
    with backend(name):
        score = arc_lattice(arcs, moves, boundary)
    (gradient,) = torch.autograd.grad(score[0], arcs)
    assert torch.isfinite(score).tolist() == [True, False, True] and score[1] == -math.inf
    assert torch.isfinite(gradient).all() and gradient[:, 0].any() and not gradient[:, 1:].any()


@backends
def test_arcs_outside_the_box_reach_nothing_and_nan_within_it_is_seen(name):
    moves = SORTS["TDT"]
    arcs, boundary = torch.randn(len(moves), 2, 5, 8), torch.tensor([[0, 0, 4, 7], [1, 2, 3, 5]])
    bad = arcs.clone()
    bad[:, 1, :1] = bad[:, 1, 4:] = bad[:, 1, :, :2] = bad[:, 1, :, 6:] = math.nan
    for k, (ds, dt) in enumerate(moves):  # these lead out of it
        bad[k, 1, 4 - ds :] = bad[k, 1, :, 6 - dt :] = math.nan
    with backend(name):
        assert torch.equal(arc_lattice(bad, moves, boundary), arc_lattice(arcs, moves, boundary))
        for s, t in ((1, 2), (2, 3)):
            broken = arcs.clone()
            broken[6, 1, s, t] = math.nan
            assert torch.isnan(arc_lattice(broken, moves, boundary)).tolist() == [False, True]


@backends
@sorts
def test_arcs_in_float32_stay_near_float64(moves, name):
    torch.manual_seed(0)
    size = (10, 40) if INTERPRETED else (200, 1000)
    arcs = (3 * torch.randn(len(moves), 2, *size, dtype=torch.float64) - 4).requires_grad_()
    boundary = torch.tensor([[0, 0, size[0] - 1, size[1] - 1], [0, 0, size[0] // 2, size[1] // 3]])
    exact = arc_lattice(arcs, moves, boundary)
    with backend(name):
        score = arc_lattice(arcs.float(), moves, boundary)
    assert torch.isfinite(exact).all() and error(score, exact) <= 1e-6
    weights = torch.tensor([1.0, 2.0])
    got, wanted = (torch.autograd.grad(x @ weights.to(x), arcs)[0] for x in (score, exact))
    assert error(got, wanted) <= 1e-5


@backends
@kinds
def test_rows_without_a_path_are_never_and_touch_nothing(regular, name):
    px, py = draw(4, 3, 5, regular, torch.float32)
    with torch.no_grad():
        px[1, 1] = -math.inf  # the second symbol never comes
    boundary = torch.tensor(
        [[0, 0, 3, 5], [0, 0, 3, 5], [0, 0, 3, 2], [0, 0, 3, 0]]
    )  # the last two: too short, if modified
    with backend(name):
        score, occupancies = transducer_lattice(px, py, boundary)
    gone = score == -math.inf
    assert gone.tolist() == [False, True, not regular, not regular] and torch.isfinite(score[~gone]).all()
    assert all(torch.isfinite(x).all() and not x[gone].any() and x[0].any() for x in occupancies)
    for gradient in torch.autograd.grad(score[~gone].sum(), (px, py)):
        assert torch.isfinite(gradient).all() and not gradient[gone].any() and gradient[0].any()


@backends
@kinds
def test_what_stands_outside_the_box_reaches_nothing(regular, name):
    px, py = draw(2, 4, 6, regular, torch.float32)
    boundary = torch.tensor([[0, 0, 4, 6], [1, 2, 3, 5]])
    bad_px, bad_py = px.detach().clone(), py.detach().clone()
    for x, s, t in ((bad_px, 3, 5 + regular), (bad_py, 4, 5)):
        x[1, :1], x[1, s:], x[1, :, :2], x[1, :, t:] = (math.nan,) * 4
    with backend(name):
        score, occupancies = transducer_lattice(px, py, boundary)
        again, others = transducer_lattice(bad_px, bad_py, boundary)
        broken, _ = transducer_lattice(bad_px, bad_py)
    assert torch.equal(again, score) and torch.isnan(broken[1])
    assert all(torch.equal(a, b) for a, b in zip(others, occupancies, strict=True))


@backends
def test_occupancies_sum_to_one_on_every_anti_diagonal(name):
    symbols, frames = 7, 12
    px, py = draw(2, symbols, frames, True, torch.float32)
    with backend(name):
        _, (of_px, of_py) = transducer_lattice(px, py)
    for x in (of_px, of_py):
        assert (x >= 0).all()
    diagonal = [torch.zeros(2) for _ in range(symbols + frames)]
    for x in (of_px, of_py):
        for s in range(x.shape[1]):
            for t in range(x.shape[2]):
                diagonal[s + t] += x[:, s, t]
    torch.testing.assert_close(torch.stack(diagonal), torch.ones(symbols + frames, 2), rtol=1e-5, atol=0)


@backends
@kinds
def test_float32_stays_near_float64_over_3000_frames_and_500_symbols(regular, name):
    px, py = draw(1, 500, 3000, regular)
    px, py = 2 * px.detach() - 4, 2 * py.detach()
    with backend(name):
        score, occupancies = transducer_lattice(px.float(), py.float())
    exact, exact_occupancies = transducer_lattice(px, py)
    assert torch.isfinite(score).all() and error(score, exact) <= 1e-6
    for given, occupancy in zip(occupancies, exact_occupancies, strict=True):
        assert error(given, occupancy) <= 1e-5
    crossing = occupancies[1].double().sum(1)  # every path leaves each frame once
    if regular:
        torch.testing.assert_close(crossing, torch.ones_like(crossing), rtol=1e-5, atol=0)


OPERATOR_CHECKS = "test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic"


@pytest.mark.parametrize("name", COMPILED)
@kinds
def test_the_operator_is_one_for_torch(regular, name):
    module = import_module(f"audiorec_kernels.lattice.{name}")
    px, py = draw(2, 4, 6, regular, torch.float32)
    boundary = torch.tensor([[0, 0, 4, 6], [0, 0, 2, 3]])
    # Against numerical gradients it is the reference that stands; this looks at fakes, aliases and registration.
    torch.library.opcheck(module._TRANSDUCER.operator, (px, py, boundary), test_utils=OPERATOR_CHECKS)
    compiled = torch.compile(
        lambda px, py: module.transducer_lattice(px, py, boundary)[0] * 2, fullgraph=True, backend="eager"
    )
    torch.testing.assert_close(compiled(px, py), 2 * transducer_lattice(px, py, boundary)[0])


@pytest.mark.parametrize("name", COMPILED)
def test_the_operator_of_arcs_is_one_for_torch(name):
    function, moves = import_module(f"audiorec_kernels.lattice.{name}").arc_lattice, SORTS["by frame"]
    module = import_module(function.__module__)
    arcs, boundary = torch.randn(3, 2, 4, 7).requires_grad_(), torch.tensor([[0, 0, 3, 6], [0, 0, 2, 5]])
    of_moves = [list(x) for x in zip(*moves, strict=True)]
    torch.library.opcheck(module._ARCS.operator, (arcs, *of_moves, boundary), test_utils=OPERATOR_CHECKS)
    compiled = torch.compile(lambda arcs: function(arcs, moves, boundary) * 2, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(arcs), 2 * arc_lattice(arcs, moves, boundary))


@backends
def test_arcs_of_no_rows_strided_and_narrow(name):
    moves = SORTS["TDT"]
    arcs = torch.randn(len(moves), 2, 4, 6)
    with backend(name):
        score = arc_lattice(arcs, moves)
        torch.testing.assert_close(arc_lattice(arcs.transpose(0, 3).contiguous().transpose(0, 3), moves), score)
        narrow = arc_lattice(arcs.bfloat16(), moves)
        assert narrow.dtype == torch.bfloat16 and arc_lattice(arcs[:, :0], moves).shape == (0,)
    torch.testing.assert_close(narrow.float(), score, rtol=2e-2, atol=2e-2)


@backends
@kinds
def test_empty_batch_and_strided_and_narrow_inputs(regular, name):
    px, py = draw(2, 3, 5, regular, torch.float32)
    with backend(name):
        score, _ = transducer_lattice(px, py)
        strided = [x.detach().transpose(0, 2).contiguous().transpose(0, 2) for x in (px, py)]
        torch.testing.assert_close(transducer_lattice(*strided)[0], score)
        narrow, (of_px, _) = transducer_lattice(px.bfloat16(), py.bfloat16())
        assert narrow.dtype == of_px.dtype == torch.bfloat16
        torch.testing.assert_close(narrow.float(), score, rtol=2e-2, atol=0)
        assert transducer_lattice(px[:0], py[:0])[0].shape == (0,)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda px, py: (px[:, :-1], py), "px must be"),
        (lambda px, py: (px[:1], py), "one batch size"),
        (lambda px, py: (px.double(), py), "floating-point type"),
        (lambda px, py: (px, py, torch.zeros(2, 3, dtype=torch.int64)), r"integers \(2, 4\)"),
        (lambda px, py: (px, py, torch.tensor([[0, 0, 3, 5], [0, 0, 3, 6]])), "first ≤ last"),
        (lambda px, py: (px, py, torch.tensor([[0, 0, 3, 5], [2, 0, 1, 5]])), "first ≤ last"),
    ],
)
def test_arguments_that_disagree(change, message):
    with pytest.raises(ValueError, match=message):
        transducer_lattice(*change(*draw(2, 3, 5, True, torch.float32)))


def test_moves_that_lead_nowhere():
    with pytest.raises(ValueError, match="lead forward"):
        arc_lattice(torch.zeros(1, 1, 2, 2), [(0, 0)])
    with pytest.raises(ValueError, match="K moves"):
        arc_lattice(torch.zeros(2, 1, 2, 2), [(0, 1)])
