"""``linear`` is torch's linear layer, whatever it is given; of few rows it is a kernel of our own, which counts no rows."""

import audiorec_kernels.product as product
import pytest
import torch
import torch.nn.functional as F
from audiorec_kernels import backend, native
from audiorec_kernels.product import linear

ONLY_NATIVE = pytest.mark.skipif(not native.WIDE, reason="the native kernel serves no such machine")


def draw(rows: int, inputs: int, outputs: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(rows, inputs), torch.randn(outputs, inputs) / inputs**0.5, torch.randn(outputs)


def serves(x: torch.Tensor, weight: torch.Tensor, added: torch.Tensor | None = None) -> bool:
    return product._serves(x, weight, added)


@pytest.mark.parametrize(
    ("inputs", "outputs"), [(16, 8192), (300, 500), (200, 100), (15, 8747), (233, 571), (9000, 15)]
)
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 8, 9])
@torch.no_grad()
def test_it_is_torchs(rows, inputs, outputs):
    x, weight, bias = draw(rows, inputs, outputs)
    exact = F.linear(x.double(), weight.double())
    if native.WIDE:
        assert serves(x, weight, bias) == (rows <= 8 and weight.numel() >= 1 << 17)
    torch.testing.assert_close(linear(x, weight), exact.float(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(linear(x, weight, bias), (exact + bias).float(), atol=1e-5, rtol=1e-5)
    added = torch.randn(rows, 3, outputs)[:, 1]  # as the frames of an input's product lie
    torch.testing.assert_close(linear(x, weight, added), (exact + added).float(), atol=1e-5, rtol=1e-5)
    assert linear(x[None, :, None], weight).shape == (1, rows, 1, outputs)


@ONLY_NATIVE
@pytest.mark.parametrize("inputs", [160, 233])
@torch.no_grad()
def test_a_row_is_the_same_among_any_number_of_rows(inputs):
    x, weight, bias = draw(8, inputs, 1024)
    y = linear(x, weight, bias)
    for rows in range(1, 8):
        assert torch.equal(linear(x[-rows:], weight, bias), y[-rows:])


@ONLY_NATIVE
@torch.no_grad()
def test_threads_and_layouts_change_nothing():
    x, weight, bias = draw(4, 256, 530)
    y, before = linear(x, weight, bias), torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert torch.equal(linear(x, weight, bias), y)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(linear(torch.cat([x, x], 1)[:, 256:], weight, bias), y)
    assert torch.equal(linear(x.t().contiguous().t(), weight, bias), y)
    strided = torch.cat([weight, weight], 1)[:, :256]
    assert not serves(x, strided)
    torch.testing.assert_close(linear(x, strided, bias), y)


@pytest.mark.skipif(product._onednn is None or not native.WIDE, reason="oneDNN serves no such machine")
@pytest.mark.parametrize(("inputs", "outputs"), [(300, 500), (15, 8747), (1024, 32)])
@torch.no_grad()
def test_many_rows_are_onednns(inputs, outputs):
    for rows in (63, 64, 333):
        x, weight, bias = draw(rows, inputs, outputs)
        exact, added = F.linear(x.double(), weight.double()), torch.randn(rows, 3, outputs)[:, 1]
        for given in (None, bias, added):
            assert product._onednn_serves(x, weight, given) == (rows >= 64)
            expected = exact if given is None else exact + given
            torch.testing.assert_close(linear(x, weight, given), expected.float(), atol=1e-5, rtol=1e-5)
        y = linear(x, weight, bias)
        torch.testing.assert_close(linear(x.t().contiguous().t(), weight, bias), y)
        torch.testing.assert_close(
            linear(x.reshape(3, -1, inputs) if rows == 333 else x[None], weight, bias).view_as(y), y
        )
        torch.testing.assert_close(linear(x, weight.t().contiguous().t(), bias), y)
    packed = product.packed(weight, x)
    assert packed.is_mkldnn == (weight.numel() >= 1 << 17)
    torch.testing.assert_close(linear(x, packed, added), linear(x, weight, added))
    weight.requires_grad_()
    with torch.enable_grad():
        assert product.packed(weight, x) is weight
        assert not product._onednn_serves(x, weight, bias) and linear(x, weight, bias).requires_grad


def test_what_is_not_the_kernels_is_torchs():
    x, weight, bias = draw(2, 256, 530)
    with torch.no_grad():
        assert serves(x, weight) == native.WIDE
        assert not serves(x[:0], weight) and linear(x[:0], weight).shape == (0, 530)
        assert not serves(x.double(), weight.double()) and not serves(x.to("meta"), weight.to("meta"))
        with backend("reference"):
            assert not serves(x, weight)
        with torch.autocast("cpu", torch.bfloat16):
            assert linear(x, weight, bias).dtype is torch.bfloat16
    weight.requires_grad_()
    assert not serves(x, weight)
    (gradient,) = torch.autograd.grad(linear(x, weight, bias).sum(), weight)
    torch.testing.assert_close(gradient, x.sum(0).expand(530, -1))
    for wrong in ((x[:, :-1], weight), (x, weight, bias[:-1])):
        with pytest.raises(RuntimeError), torch.no_grad():
            linear(*wrong)


class Layer(torch.nn.Module):
    def forward(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return linear(x, weight, bias)


@torch.no_grad()
def test_it_compiles_and_exports():
    inputs = draw(2, 256, 530)
    expected = linear(*inputs)
    torch.testing.assert_close(torch.compile(Layer(), backend="aot_eager", fullgraph=True)(*inputs), expected)
    dynamic = {"x": {0: torch.export.Dim("rows", min=1, max=64)}, "weight": None, "bias": None}
    program = torch.export.export(Layer(), inputs, dynamic_shapes=dynamic).module()
    for rows in (1, 2, 20):
        x, *rest = draw(rows, 256, 530)
        torch.testing.assert_close(program(x, *rest), linear(x, *rest))
