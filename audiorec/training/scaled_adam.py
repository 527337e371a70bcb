"""ScaledAdam: Adam whose steps are shares of each tensor's own size."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

SMALLEST = 1e-5  # of a tensor's size, so that what begins as zeros can grow
SHARE_OF_SCALE = 0.1  # a tensor's size learns at this share of the learning rate; so do single numbers


class ScaledAdam(torch.optim.Optimizer):
    """The optimiser of Zipformer (Yao et al. 2023, section 3.5).

    Adam's step is multiplied by the tensor's size, the root of its mean square, so that ``lr`` is the relative change of
    a step, whatever the tensor's size. Beside it the size itself is learnt: Adam along the tensor, by the gradient of its
    logarithm, which is the sum of gradient times weight. A single number has no direction beside its size: Adam's plain step.

    ``lr`` is ten to twenty times AdamW's: 0.03 to 0.05. ``weight_decay`` is AdamW's.
    """

    def __init__(self, params: Any, lr: float, betas: tuple[float, float] = (0.9, 0.98), weight_decay: float = 0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": 1e-8, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, weight.grad, group)
        return loss

    def _update(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["mean"], state["square"] = torch.zeros_like(weight), torch.zeros_like(weight)
            state["scale_mean"], state["scale_square"] = weight.new_zeros(()), weight.new_zeros(())
        state["step"] += 1
        step, rate = int(state["step"]), group["lr"]
        along = (weight * gradient).sum()
        direction = _adam(gradient, state["mean"], state["square"], step, group)
        growth = _adam(along, state["scale_mean"], state["scale_square"], step, group)
        decay = 1 - rate * group["weight_decay"]
        if weight.numel() == 1:
            weight.mul_(decay).sub_(direction, alpha=rate * SHARE_OF_SCALE)
            return
        size = weight.square().mean().sqrt().clamp(min=SMALLEST)
        weight.mul_(decay - rate * SHARE_OF_SCALE * growth).sub_(direction * size, alpha=rate)


def _adam(gradient: Tensor, mean: Tensor, square: Tensor, step: int, group: dict[str, Any]) -> Tensor:
    """Adam's step for a rate of 1; moves the two averages on."""
    first, second = group["betas"]
    mean.lerp_(gradient, 1 - first)
    square.lerp_(gradient.square(), 1 - second)
    unbiased = (square / (1 - second**step)).sqrt_().add_(group["eps"])
    return mean / (1 - first**step) / unbiased
