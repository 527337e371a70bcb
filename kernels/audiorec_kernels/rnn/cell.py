"""One frame of an LSTM or a GRU after its products: csrc/rnn.cpp, or plain torch where gradients or other devices ask for it."""

import torch
from torch import Tensor

from audiorec_kernels import native
from audiorec_kernels.backends import serving
from audiorec_kernels.native import kernel, threads

_lstm = kernel("lstm_cell", sizes=2, tensors=5)
_gru = kernel("gru_cell", sizes=2, tensors=4)


def lstm_cell(gates: Tensor, bias: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """gates (B, 4 · D), i, f, g, o before their activations and without ``bias`` (4 · D,), and c (B, D) → h and c (B, D)."""
    if _serves(gates, bias, c):
        h_next, c_next = torch.empty_like(c), torch.empty_like(c)
        _lstm(*c.shape, gates, bias, c, h_next, c_next, threads(gates.numel()))
        return h_next, c_next
    i, f, g, o = (gates + bias).chunk(4, 1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def gru_cell(inputs: Tensor, states: Tensor, h: Tensor) -> Tensor:
    """inputs and states (B, 3 · D), gates r, z, n of the input and of h (B, D), biases in each → h (B, D)."""
    if _serves(inputs, states, h):
        h_next = torch.empty_like(h)
        _gru(*h.shape, inputs, states, h, h_next, threads(inputs.numel()))
        return h_next
    (x_r, x_z, x_n), (s_r, s_z, s_n) = inputs.chunk(3, 1), states.chunk(3, 1)
    candidate = (x_n + (x_r + s_r).sigmoid() * s_n).tanh()
    return candidate + (x_z + s_z).sigmoid() * (h - candidate)


def _serves(*tensors: Tensor) -> bool:
    """Whether the native cell may take these: contiguous float32 on a CPU, without gradients."""
    return (
        native.LIBRARY is not None
        and not torch.is_grad_enabled()
        and all(x.dtype is torch.float32 and x.is_cpu and x.is_contiguous() for x in tensors)
        and serving("cpu") == "native"
    )
