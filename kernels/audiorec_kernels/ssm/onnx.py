"""The selective scan in operators that onnxruntime computes fast, for ``torch.export`` towards ONNX.

Channels come last, so that every operator runs over whole rows of them, and no frame is taken out by more than one operator.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from audiorec_kernels.arguments import padding


def selective_scan(
    u: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    dt_bias: Tensor | None,
    dt_softplus: bool,
    initial_state: Tensor,
    lengths: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """That of ``reference.py``, from a state, without resets."""
    past = None
    if lengths is not None:
        past = padding(u, lengths)[..., None]
        u, dt, B, C = (x.masked_fill(past, 0) for x in (u, dt, B, C))
        z = None if z is None else z.masked_fill(past, 0)
    if dt_bias is not None:
        dt = dt + dt_bias
    if dt_softplus:
        dt = softplus(dt)
    if past is not None:
        dt = dt.masked_fill(past, 0)  # a step of no time: exp(0) h + 0 holds the state exactly
    h, rates = initial_state.transpose(1, 2), A.t().contiguous()
    outputs = []
    frames = dt.split(1, 1), (dt * u).split(1, 1), B.transpose(1, 2).split(1, 2), C.split(1, 1)
    for dt_t, x_t, B_t, C_t in zip(*frames, strict=True):
        h = torch.exp(dt_t * rates) * h + x_t * B_t
        outputs.append(C_t @ h)
    y = torch.cat(outputs, 1)
    if D is not None:
        y = y + D * u
    if z is not None:
        y = y * F.silu(z)
    return y, h.transpose(1, 2)


def softplus(x: Tensor) -> Tensor:
    """As torch's, within 1e-7: onnxruntime's Softplus, and the threshold that torch exports, take four times as long."""
    return x.clamp(min=0) + torch.log(1 + torch.exp(-x.abs()))
