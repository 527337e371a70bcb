"""A kernel as torch sees it: a torch.library operator whose backward is one, too; called straight where no one looks."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

_PLAIN = Tensor, Parameter


class Operator:
    """``forward(*inputs) → outputs`` with its gradient, for torch.autograd and torch.compile.

    ``outputs(*inputs)`` gives uninitialised outputs, which is all that a tracer needs; ``keep(inputs, outputs)`` says what
    ``backward(*gradients of the outputs, contiguous, *kept)`` takes. It returns the gradients of the first inputs, as many as
    have one; ``gradients``, with backward's arguments, gives them uninitialised. An input that was None is given no
    gradient, whatever stands in its place. Both functions are annotated, for torch takes the operator's types from them.
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
        return self.operator(*inputs) if _watched(inputs) else self.forward(*inputs)

    def _keep(self, ctx, inputs: tuple, output: tuple[Tensor, ...]) -> None:
        kept = self.keep(inputs, output)
        ctx.save_for_backward(*(x if isinstance(x, Tensor) else None for x in kept))
        ctx.constants = [None if isinstance(x, Tensor) else x for x in kept]
        ctx.given = [isinstance(x, Tensor) for x in inputs]

    def _backward(self, ctx, *grads: Tensor) -> tuple[Tensor | None, ...]:
        kept = [c if x is None else x for x, c in zip(ctx.saved_tensors, ctx.constants, strict=True)]
        gradients = self.backward(*(g.contiguous() for g in grads), *kept)
        gradients = [gradients] if isinstance(gradients, Tensor) else list(gradients)
        gradients += [None] * (len(ctx.given) - len(gradients))
        return tuple(g if given else None for g, given in zip(gradients, ctx.given, strict=True))


def _watched(inputs: Sequence[object]) -> bool:
    """Whether autograd, a compiler or a tracer has to see the call."""
    if torch.compiler.is_compiling():
        return True
    tensors = [x for x in inputs if isinstance(x, Tensor)]
    if torch.is_grad_enabled() and any(x.requires_grad for x in tensors):
        return True
    return not all(type(x) in _PLAIN for x in tensors)
