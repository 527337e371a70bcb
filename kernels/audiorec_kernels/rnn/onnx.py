"""The LSTM and the GRU of ``dense.py`` as ONNX's own operators, for ``torch.export`` towards ONNX: nothing here computes.

torch's translation of ``torch.lstm`` holds for the traced number of frames alone, and has no lengths.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

_LSTM = 0, 3, 1, 2  # torch's gates i, f, g, o in ONNX's order i, o, f, g
_GRU = 1, 0, 2  # torch's r, z, n in ONNX's order z, r, n


def dense_lstm(
    x: Tensor, h: Tensor, c: Tensor, weights: Sequence[Tensor], lengths: Tensor | None
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """That of ``dense.py``, of x (B, T, C), the states and the four weights."""
    y, h_last, c_last = _layer("LSTM", x, (h, c), weights, _LSTM, lengths, {})
    return y, (_kept(h_last, h, lengths), _kept(c_last, c, lengths))


def dense_gru(x: Tensor, h: Tensor, weights: Sequence[Tensor], lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """That of ``dense.py``, of x (B, T, C), the state and the four weights."""
    y, h_last = _layer("GRU", x, (h,), weights, _GRU, lengths, {"linear_before_reset": 1})
    return y, _kept(h_last, h, lengths)


def _layer(
    operator: str,
    x: Tensor,
    states: tuple[Tensor, ...],
    weights: Sequence[Tensor],
    order: tuple[int, ...],
    lengths: Tensor | None,
    attributes: dict[str, int],
) -> tuple[Tensor, ...]:
    """y (B, T, D), zero past each row's length, and the states (B, D) there: zero, too, in a row of length 0."""
    batch, time, dim = x.shape[0], x.shape[1], weights[1].shape[1]
    # By slices, which are folded into one constant, as a split into many is not.
    w_ih, w_hh, b_ih, b_hh = (torch.cat([w[gate * dim : (gate + 1) * dim] for gate in order]) for w in weights)
    y, *last = torch.onnx.ops.symbolic_multi_out(
        operator,
        [
            x.transpose(0, 1),
            w_ih[None],
            w_hh[None],
            torch.cat([b_ih, b_hh])[None],
            None if lengths is None else lengths.to(torch.int32),
            *(state[None] for state in states),
        ],
        {"hidden_size": dim, **attributes},
        dtypes=[x.dtype] * (1 + len(states)),
        shapes=[(time, 1, batch, dim), *[(1, batch, dim)] * len(states)],
    )
    return y[:, 0].transpose(0, 1), *(state[0] for state in last)


def _kept(last: Tensor, before: Tensor, lengths: Tensor | None) -> Tensor:
    return last if lengths is None else torch.where(lengths[:, None] > 0, last, before)
