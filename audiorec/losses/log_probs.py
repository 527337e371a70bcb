"""Log-probabilities of a few chosen symbols out of many, without a log-softmax of the whole beside its input.

The lattice asks for two symbols of each cell's V. Both functions work through the cells in chunks that stay in cache; the
gradient of a log-softmax is rebuilt in backward, chunk by chunk, from what was kept.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK = 1 << 20  # numbers: 4 MB in float32, what a CPU's cache holds
GPU_CHUNK = 1 << 26  # enough to fill one


def chosen_log_probs(logits: Tensor, index: Tensor, without: int | None = None) -> Tensor:
    """(…, K): of logits (…, V), the log-softmax at the symbols index (…, K). Backward holds one tensor of the logits' size.

    ``without`` names a symbol that is left out of the softmax, and that index must not name.
    """
    chosen = _Chosen.apply(logits.flatten(0, -2), index.flatten(0, -2), without)
    return chosen.view(index.shape)


def projected_log_probs(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, index: Tensor, recompute: bool = False
) -> Tensor:
    """(N, K): chosen log-probabilities of logits that are never there at once: hidden (N, H) times weight (V, H) plus bias.

    The probabilities (N, V) are kept for backward; with ``recompute`` not even they are, for a third more time.
    """
    device = hidden.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        hidden, weight, bias = hidden.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    return _Projected.apply(hidden, weight, bias, index, recompute or not torch.is_grad_enabled())


def _chunks(x: Tensor, width: int) -> list[slice]:
    """Pieces of the rows of x, of which each makes so many numbers."""
    rows, size = len(x), max(1, (CHUNK if x.device.type == "cpu" else GPU_CHUNK) // max(width, 1))
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]


def _log_softmax(logits: Tensor) -> Tensor:
    return logits.log_softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))


def _probs(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return _log_softmax(F.linear(hidden, weight, bias)).exp_()


class _Chosen(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits: Tensor, index: Tensor, without: int | None):
        total = logits.new_empty(len(logits), 1, dtype=torch.promote_types(logits.dtype, torch.float32))
        for rows in _chunks(logits, logits.shape[1]):
            chunk = logits[rows].to(total.dtype)
            if without is not None:
                chunk = chunk.index_fill(-1, torch.tensor([without], device=chunk.device), -torch.inf)
            torch.logsumexp(chunk, -1, keepdim=True, out=total[rows])
        ctx.save_for_backward(logits, index, total)
        ctx.without = without
        return logits.gather(-1, index).to(total.dtype) - total

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        logits, index, total = ctx.saved_tensors
        result = torch.empty_like(logits)
        for rows in _chunks(logits, logits.shape[1]):
            chunk = (logits[rows] - total[rows]).exp_().mul_(-gradient[rows].sum(-1, keepdim=True))
            if ctx.without is not None:
                chunk[:, ctx.without] = 0
            result[rows] = chunk.scatter_add_(-1, index[rows], gradient[rows])
        return result, None, None


class _Projected(torch.autograd.Function):
    @staticmethod
    @torch.no_grad()
    def forward(ctx, hidden: Tensor, weight: Tensor, bias: Tensor | None, index: Tensor, recompute: bool):
        probs = None if recompute else hidden.new_empty(len(hidden), len(weight))
        chosen = hidden.new_empty(index.shape, dtype=torch.promote_types(hidden.dtype, torch.float32))
        with torch.autocast(hidden.device.type, enabled=False):
            for rows in _chunks(hidden, len(weight)):
                log_probs = _log_softmax(F.linear(hidden[rows], weight, bias))
                torch.gather(log_probs, -1, index[rows], out=chosen[rows])
                if probs is not None:
                    probs[rows] = log_probs.exp_()
        ctx.save_for_backward(hidden, weight, bias, index, probs)
        return chosen

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        hidden, weight, bias, index, probs = ctx.saved_tensors
        accumulator = torch.promote_types(weight.dtype, torch.float32)
        hidden_grad = torch.empty_like(hidden)
        weight_grad = torch.zeros_like(weight, dtype=accumulator)
        bias_grad = None if bias is None else torch.zeros_like(bias, dtype=accumulator)
        for rows in _chunks(hidden, len(weight)):
            p = probs[rows].to(gradient.dtype) if probs is not None else _probs(hidden[rows], weight, bias)
            logits_grad = (p * -gradient[rows].sum(-1, keepdim=True)).scatter_add_(-1, index[rows], gradient[rows])
            if bias is not None:
                bias_grad += logits_grad.sum(0)
            logits_grad = logits_grad.to(hidden.dtype)
            torch.mm(logits_grad, weight, out=hidden_grad[rows])
            if weight.dtype == accumulator:
                weight_grad.addmm_(logits_grad.T, hidden[rows])
            else:
                weight_grad += logits_grad.T @ hidden[rows]
        return hidden_grad, weight_grad.to(weight.dtype), None if bias is None else bias_grad.to(bias.dtype), None, None
