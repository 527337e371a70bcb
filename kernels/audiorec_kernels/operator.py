"""A kernel as torch sees it: a torch.library operator with a gradient; a plain call where nothing records or traces it."""

import typing
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

_PLAIN = Tensor, Parameter
Ints = typing.List[int]  # noqa: UP006 (of an operator's arguments: torch before 2.7 does not read list[int])


class Operator:
    """A function of tensors with its gradient, for torch.autograd and torch.compile, made of five plain functions:

    - ``forward(*inputs)`` computes the outputs, a tuple of tensors;
    - ``outputs(*inputs)`` gives tensors of their shapes and dtypes, uninitialised: a compiler traces with these;
    - ``keep(inputs, outputs)`` picks what the backward pass needs, tensors or constants, as a tuple;
    - ``backward(*gradients of the outputs, *kept)`` computes the gradients of the first inputs, as many as have one. It gets
      contiguous gradients. The gradient of an input that was None is dropped, so it may be anything;
    - ``gradients(*gradients of the outputs, *kept)`` gives tensors of their shapes and dtypes, uninitialised.

    torch takes the operators' types from the annotations of ``forward`` and ``backward``. For example, a x (B, T)::

        def forward(a: Tensor, x: Tensor) -> tuple[Tensor]: return (a * x,)
        def outputs(a: Tensor, x: Tensor) -> tuple[Tensor]: return (torch.empty_like(x),)
        def keep(inputs: tuple, outputs: tuple) -> tuple: return inputs
        def backward(dy: Tensor, a: Tensor, x: Tensor) -> tuple[Tensor, Tensor]: return dy * x, dy * a
        def gradients(dy: Tensor, a: Tensor, x: Tensor) -> tuple[Tensor, Tensor]: return torch.empty_like(a), torch.empty_like(x)
        (y,) = Operator("product", forward, outputs, keep, backward, gradients)(a, x)
    """

    def __init__(
        self, name: str, forward: Callable, outputs: Callable, keep: Callable, backward: Callable, gradients: Callable
    ):
        self.forward, self.keep = forward, keep
        self.operator = torch.library.custom_op(f"audiorec::{name}", forward, mutates_args=())
        self.operator.register_fake(outputs)
        self.backward = torch.library.custom_op(f"audiorec::{name}_backward", backward, mutates_args=())
        self.backward.register_fake(gradients)
        self.operator.register_autograd(self._backward, setup_context=self._keep)

    def __call__(self, *inputs: object) -> tuple[Tensor, ...]:
        return self.operator(*inputs) if watched(inputs) else self.forward(*inputs)

    def _keep(self, ctx, inputs: tuple, output: tuple[Tensor, ...]) -> None:
        kept = self.keep(inputs, output)
        ctx.save_for_backward(*(x if isinstance(x, Tensor) else None for x in kept))
        ctx.constants = [None if isinstance(x, Tensor) else x for x in kept]
        ctx.is_tensor = [isinstance(x, Tensor) for x in inputs]

    def _backward(self, ctx, *grads: Tensor) -> tuple[Tensor | None, ...]:
        kept = [c if x is None else x for x, c in zip(ctx.saved_tensors, ctx.constants, strict=True)]
        gradients = self.backward(*(g.contiguous() for g in grads), *kept)
        gradients = [*gradients, *[None] * (len(ctx.is_tensor) - len(gradients))]
        return tuple(g if tensor else None for g, tensor in zip(gradients, ctx.is_tensor, strict=True))


def watched(inputs: Sequence[object]) -> bool:
    """Whether autograd records the call, or a compiler or a tracer traces it."""
    if torch.compiler.is_compiling():
        return True
    recording = torch.is_grad_enabled()
    return any(isinstance(x, Tensor) and (type(x) not in _PLAIN or (recording and x.requires_grad)) for x in inputs)
