"""The laws of every kernel: it gives the float64 reference's values and gradients, whatever lengths, resets and strides."""

import pytest
import torch
from audiorec_kernels import backend, full_precision
from torch import Tensor
from torch._dynamo.backends.registry import lookup_backend

from ..device import DEVICE, ON_CUDA, pytestmark  # noqa: F401
from .families import INTERPRETED, KERNELS, Kernel

# The reference takes a launch or more for every frame.
TIMES = (0, 1, 2, 3, 17, *((70,) if INTERPRETED else (700,) if ON_CUDA else (1000, 4097)))
kernels = pytest.mark.parametrize(
    ("name", "served"),
    [(name, served) for name, kernel in KERNELS.items() for served in kernel.backends],
)


@pytest.fixture(autouse=True)
def _reproducible():
    torch.manual_seed(0)
    with backend("auto"), torch.device(DEVICE), full_precision(DEVICE):
        yield


def ragged(rows: int, time: int) -> Tensor:
    """(rows,): the whole, none, then anything between."""
    return torch.tensor([time, 0, *torch.randint(0, time + 1, (rows,)).tolist()][:rows])


def resets(rows: int, time: int) -> Tensor:
    """(rows, time): none in the first row, one at the first frame of the last."""
    reset = torch.rand(rows, time) < 0.1
    reset[0], reset[-1, :1] = False, True
    return reset


def run(kernel: Kernel, inputs: dict[str, Tensor], weights: tuple[Tensor, Tensor], **rest) -> dict[str, Tensor]:
    """Values, and the gradients of a weighted sum of them."""
    inputs = {name: x.detach().requires_grad_() for name, x in inputs.items()}
    y, state = kernel.function(**inputs, **rest)
    total = (y * weights[0].to(y)).sum() + (state * weights[1].to(state)).sum()
    gradients = torch.autograd.grad(total, inputs.values(), allow_unused=True, materialize_grads=True)
    found = {"y": y, "state": state, **{f"gradient of {name}": g for name, g in zip(inputs, gradients, strict=True)}}
    return {name: x.detach() for name, x in found.items()}


def exact(kernel: Kernel, inputs: dict[str, Tensor], weights: tuple[Tensor, Tensor], **rest) -> dict[str, Tensor]:
    return run(kernel, {name: x.double() for name, x in inputs.items()}, weights, **rest)


def weights_of(kernel: Kernel, inputs: dict[str, Tensor], **rest) -> tuple[Tensor, Tensor]:
    """Random weights of y and the state: a plain sum would hide gradients that went to the wrong frame."""
    with torch.no_grad():
        y, state = kernel.function(**inputs, **rest)
    return torch.randn_like(y), torch.randn_like(state)


def assert_near(got: dict[str, Tensor], wanted: dict[str, Tensor], most: float = 1e-5, case: str = "") -> None:
    for name, b in wanted.items():
        a = got[name].to(b)
        assert a.shape == b.shape, name
        if b.numel():
            error = ((a - b).abs().max() / b.abs().max().clamp(min=1e-3)).item()
            assert error <= most, f"{name} off by {error:.1e} {case}"


@kernels
@pytest.mark.parametrize("time", TIMES)
def test_it_gives_the_reference_in_float64(name, served, time):
    kernel = KERNELS[name]
    inputs = kernel.draw(4, time)
    cases = {}, {"lengths": ragged(4, time)}, {"lengths": ragged(4, time), "reset": resets(4, time)}
    for rest in cases if time < 1000 else cases[2:]:
        weights = weights_of(kernel, inputs, **rest)
        with backend(served):
            got = run(kernel, inputs, weights, **rest)
        assert_near(got, exact(kernel, inputs, weights, **rest))


@kernels
def test_no_state_is_a_state_of_zeros(name, served):
    kernel = KERNELS[name]
    inputs = kernel.draw(3, 7)
    zeros = torch.zeros_like(inputs.pop("initial_state"))
    weights, reset = weights_of(kernel, inputs), resets(3, 7)
    with backend(served):
        without = run(kernel, inputs, weights, reset=reset)
        with_zeros = run(kernel, {**inputs, "initial_state": zeros}, weights, reset=reset)
        assert_near(without, exact(kernel, inputs, weights, reset=reset))
    for part, value in without.items():
        assert torch.equal(value, with_zeros[part]), part


@kernels
def test_strides_do_not_matter(name, served):
    kernel = KERNELS[name]
    inputs = kernel.draw(3, 20)
    weights = weights_of(kernel, inputs)
    layouts = {
        "half of a wider tensor": lambda x: torch.cat([x, x], -1)[..., : x.shape[-1]],
        "every other element": lambda x: torch.stack([x, x], -1)[..., 0],
        "axes exchanged in memory": lambda x: x.transpose(0, -1).contiguous().transpose(0, -1),
    }
    with backend(served):
        plain = run(kernel, inputs, weights)
        for layout, lay in layouts.items():
            got = run(kernel, {key: lay(x) for key, x in inputs.items()}, tuple(map(lay, weights)))
            assert_near(got, plain, 1e-6, layout)
        # The gradient of a plain sum is one number, spread over y without memory of its own.
        summed = run(kernel, inputs, (torch.ones(()), torch.ones(())))
    assert_near(summed, exact(kernel, inputs, (torch.ones(()), torch.ones(()))))


@kernels
@pytest.mark.parametrize("cut", [0, 1, 6, 19, 20])
def test_two_calls_are_one_in_values_and_gradients(name, served, cut):
    kernel = KERNELS[name]
    inputs, reset = kernel.draw(3, 20), resets(3, 20)
    weights = weights_of(kernel, inputs, reset=reset)

    class Cut:
        @staticmethod
        def function(initial_state, **inputs):
            outputs, state = [], initial_state
            for part in (slice(cut), slice(cut, None)):
                given = {key: x[:, part] if key in kernel.timed else x for key, x in inputs.items()}
                y, state = kernel.function(**given, initial_state=state, reset=reset[:, part])
                outputs.append(y)
            return torch.cat(outputs, 1), state

    with backend(served):
        assert_near(run(Cut, inputs, weights), run(kernel, inputs, weights, reset=reset))


@kernels
def test_padding_reaches_nothing_and_an_empty_row_keeps_its_state(name, served):
    kernel = KERNELS[name]
    inputs, lengths, reset = kernel.draw(4, 20), ragged(4, 20), resets(4, 20)
    weights = weights_of(kernel, inputs)
    past = torch.arange(20) >= lengths[:, None]

    def poison(x: Tensor) -> Tensor:
        return x.masked_fill(past.reshape(*past.shape, *[1] * (x.ndim - 2)), torch.nan)

    poisoned = {key: poison(x) if key in kernel.timed else x for key, x in inputs.items()}
    with backend(served):
        clean = run(kernel, inputs, weights, lengths=lengths, reset=reset)
        got = run(kernel, poisoned, (poison(weights[0]), weights[1]), lengths=lengths, reset=reset | past)
    assert not got.pop("y")[past].any() and not clean["y"][past].any()
    assert torch.equal(got["state"][1], inputs["initial_state"][1])
    for key, value in got.items():
        assert torch.equal(value, clean[key]), key
        if key.removeprefix("gradient of ") in kernel.timed:
            assert not value[past].any(), key


@kernels
def test_a_reset_forgets_even_nan(name, served):
    kernel = KERNELS[name]
    inputs = kernel.draw(2, 12)
    reset = torch.zeros(2, 12, dtype=torch.bool)
    reset[:, 5] = True
    broken = {
        key: x.index_fill(1, torch.arange(5), torch.nan) if key in kernel.timed else x for key, x in inputs.items()
    }
    with backend(served):
        (clean, clean_state), (got, state) = (kernel.function(**given, reset=reset) for given in (inputs, broken))
    assert got[:, :5].isnan().all()
    assert torch.equal(got[:, 5:], clean[:, 5:])
    if reset.shape[1] - 5 >= state.shape[1] or state.ndim == 2:
        assert torch.equal(state, clean_state)


@kernels
def test_an_empty_batch_works(name, served):
    kernel = KERNELS[name]
    inputs = kernel.draw(0, 6)
    with backend(served):
        got = run(kernel, inputs, (torch.ones(()), torch.ones(())), lengths=torch.zeros(0, dtype=torch.int64))
    assert_near(got, exact(kernel, inputs, (torch.ones(()), torch.ones(()))))


@kernels
def test_bfloat16_is_carried_in_float32(name, served):
    kernel = KERNELS[name]
    if kernel.narrow_products:
        pytest.skip("multiplies in bfloat16, which Triton's interpreter does wrongly")
    inputs = {k: x if k == "initial_state" else x.bfloat16() for k, x in kernel.draw(3, 40).items()}
    with backend(served), torch.no_grad():
        y, state = kernel.function(**inputs, lengths=torch.tensor([40, 0, 9]))
    with torch.no_grad():
        wanted = kernel.function(**{k: x.double() for k, x in inputs.items()}, lengths=torch.tensor([40, 0, 9]))
    assert y.dtype is torch.bfloat16 and state.dtype is torch.float32
    # Triton's interpreter cuts off what a processor rounds.
    assert_near({"y": y}, {"y": wanted[0]}, 2**-7 if INTERPRETED else 2**-8)
    assert_near({"state": state}, {"state": wanted[1]})


@pytest.mark.skipif(ON_CUDA, reason="a processor's threads")
@kernels
def test_threads_change_nothing(name, served):
    kernel = KERNELS[name]
    inputs, before = kernel.draw(3, 9000), torch.get_num_threads()
    weights = weights_of(kernel, inputs)
    try:
        torch.set_num_threads(1)
        with backend(served):
            one = run(kernel, inputs, weights)
            torch.set_num_threads(3)
            three = run(kernel, inputs, weights)
    finally:
        torch.set_num_threads(before)
    if served == "reference" or kernel.narrow_products:  # products are torch's, which may divide a sum among threads
        assert_near(three, one, 1e-6)
    else:
        assert all(torch.equal(value, three[part]) for part, value in one.items())


@kernels
def test_it_compiles_in_one_graph(name, served):
    kernel = KERNELS[name]
    inputs, rest = kernel.draw(3, 8), {"lengths": ragged(3, 8), "reset": resets(3, 8)}
    weights = weights_of(kernel, inputs)

    called = []

    def compiler(graph: torch.fx.GraphModule, examples: list) -> object:
        called.extend(str(node.target) for node in graph.graph.nodes)
        return lookup_backend("aot_eager")(graph, examples)

    class Compiled:
        function = staticmethod(torch.compile(kernel.function, fullgraph=True, backend=compiler))

    torch.compiler.reset()
    with backend(served):
        assert_near(run(Compiled, inputs, weights, **rest), run(kernel, inputs, weights, **rest), 1e-6)
    assert served == "reference" or any(target.startswith("audiorec") for target in called)


@kernels
def test_its_export_is_the_reference_in_plain_operators(name, served):
    kernel = KERNELS[name]
    inputs = kernel.draw(3, 8)

    class Module(torch.nn.Module):
        def forward(self, inputs, lengths, reset):
            return kernel.function(**inputs, lengths=lengths, reset=reset)

    given = inputs, ragged(3, 8), resets(3, 8)
    with backend(served):
        program = torch.export.export(Module(), given)
        assert not [node for node in program.graph.nodes if "audiorec" in str(node.target)]
        for got, wanted in zip(program.module()(*given), Module()(*given), strict=True):
            torch.testing.assert_close(got, wanted)


@kernels
def test_torch_finds_nothing_wrong_with_the_operators(name, served, monkeypatch):
    from audiorec_kernels.operator import Operator

    calls = []
    monkeypatch.setattr(
        Operator, "__call__", lambda self, *inputs: calls.append((self, inputs)) or self.forward(*inputs)
    )
    kernel = KERNELS[name]
    with backend(served):
        for rest in ({}, {"lengths": ragged(3, 8), "reset": resets(3, 8)}):
            inputs = {key: x.requires_grad_() for key, x in kernel.draw(3, 8).items()}
            kernel.function(**inputs, **rest)
    assert calls or served == "reference"
    for operator, inputs in calls:
        torch.library.opcheck(operator.operator, inputs)
