"""The time-invariant scan against a dense simulation frame by frame, rows of their own length, resets, export."""

import pytest
import torch
from audiorec_kernels import backend
from audiorec_kernels.lti import lti_scan, lti_scan_step

NAMES = ("u", "A", "B", "C", "initial_state")


def inputs(batch: int, time: int, read_out: bool, dtype: torch.dtype = torch.float64) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    channels, order, outputs = 3, 4, 2
    sizes = (batch, time, channels), (order, order), (order,), (channels, outputs, order), (batch, channels, order)
    values = {name: torch.randn(*size, dtype=dtype) for name, size in zip(NAMES, sizes, strict=True)}
    values["A"] *= 0.3
    return values if read_out else {name: value for name, value in values.items() if name != "C"}


def simulate(u, A, B, initial_state, reset, C=None) -> tuple[torch.Tensor, torch.Tensor]:
    """One row, u (T, K), channel by channel."""
    outputs, m = [], list(initial_state)
    for frame, forget in zip(u, reset, strict=True):
        m = [torch.zeros_like(m_k) if forget else m_k for m_k in m]
        m = [A @ m_k + B * u_k for m_k, u_k in zip(m, frame, strict=True)]
        outputs.append(torch.stack(m if C is None else [C_k @ m_k for C_k, m_k in zip(C, m, strict=True)]))
    return torch.stack(outputs), torch.stack(m)


@pytest.mark.parametrize("read_out", [False, True], ids=["memory", "read out"])
@pytest.mark.parametrize(
    ("time", "resets"), [(1, False), (8, False), (9, False), (16, False), (17, False), (50, False), (30, True)]
)
def test_each_row_is_the_simulation_of_its_own_length(time, resets, read_out):
    values = inputs(3, time, read_out)
    lengths = torch.tensor([time, (time + 1) // 2, 0])
    values["u"][torch.arange(time) >= lengths[:, None]] = torch.nan
    reset = (torch.rand(3, time) < 0.2) & resets
    leaves = [value.requires_grad_() for value in values.values()]
    y, m = lti_scan(**values, lengths=lengths, reset=reset if resets else None)
    got = torch.autograd.grad(y.square().sum() + m.sum(), leaves)
    assert torch.equal(m[2], values["initial_state"][2])
    total = values["initial_state"][2].sum()
    for row, n in enumerate(lengths[:2].tolist()):
        assert not y[row, n:].any()
        alone = {"u": values["u"][row, :n], "initial_state": values["initial_state"][row]}
        expected, last = simulate(**values | alone, reset=reset[row, :n])
        torch.testing.assert_close(y[row, :n], expected)
        torch.testing.assert_close(m[row], last)
        total = total + expected.square().sum() + last.sum()
    for a, b in zip(got, torch.autograd.grad(total, leaves), strict=True):
        torch.testing.assert_close(a, b)


def test_one_frame_is_a_scan_of_one():
    values = inputs(2, 1, False)
    m = lti_scan_step(values["u"][:, 0], values["A"], values["B"], values["initial_state"])
    torch.testing.assert_close(m, lti_scan(**values)[1])


@pytest.mark.parametrize("resets", [False, True])
def test_a_memory_too_large_for_tritons_kernel_is_carried_by_torch(resets):
    pytest.importorskip("triton")
    torch.manual_seed(0)
    values = {"u": torch.randn(2, 70, 3), "A": torch.randn(129, 129) / 23, "B": torch.randn(129)}
    rest = {"lengths": torch.tensor([70, 33]), "reset": torch.rand(2, 70) < 0.1 if resets else None}
    with backend("triton"):
        got = lti_scan(**values, **rest)
    for a, b in zip(got, lti_scan(**{name: x.double() for name, x in values.items()}, **rest), strict=True):
        torch.testing.assert_close(a, b.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("time", [2, 20])
def test_half_precision_inputs_are_scanned_in_float32(time):
    values = inputs(2, time, True, torch.bfloat16)
    exact, exact_m = lti_scan(**{name: value.float() for name, value in values.items()})
    with torch.autocast("cpu", torch.bfloat16):
        y, m = lti_scan(**values)
    assert y.dtype == torch.bfloat16 and m.dtype == torch.float32
    assert torch.equal(m, exact_m) and torch.equal(y, exact.bfloat16())


def test_chunks_export_with_a_dynamic_batch():
    class Scan(torch.nn.Module):
        def forward(self, u, A, B, C, initial_state, lengths):
            return lti_scan(u, A, B, C, initial_state, lengths)

    batch = torch.export.Dim("batch", min=1, max=64)
    lengths = torch.tensor([40, 17, 0])
    dynamic = [{0: batch} if name in ("u", "initial_state") else None for name in NAMES]
    example = (*inputs(3, 40, True).values(), lengths)
    program = torch.export.export(Scan(), example, dynamic_shapes=(*dynamic, {0: batch})).module()
    for rows in (1, 2):
        values = inputs(rows, 40, True)
        for a, b in zip(
            program(*values.values(), lengths[:rows]), lti_scan(**values, lengths=lengths[:rows]), strict=True
        ):
            torch.testing.assert_close(a, b)
