"""LSTMs and GRUs for ``torch.export`` towards ONNX: those of ``dense.py`` as ONNX's own operators, which compute nothing here,
and those in heads frame by frame, heads before rows, so that a frame is one product and few operators.

torch's translation of ``torch.lstm`` holds for the traced number of frames alone, and has no lengths.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_LSTM = 0, 3, 1, 2  # torch's gates i, f, g, o in ONNX's order i, o, f, g
_GRU = 1, 0, 2  # torch's r, z, n in ONNX's order z, r, n


def dense_lstm(
    x: Tensor, h: Tensor, c: Tensor, weights: Sequence[Tensor], lengths: Tensor | None
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """That of ``dense.py``, of x (B, T, C), the states and the four weights, or the five of one with a projection."""
    if len(weights) == 5:
        return _projected_lstm(x, h, c, weights, lengths)
    y, h_last, c_last = _layer("LSTM", x, (h, c), weights, _LSTM, lengths, {})
    return y, (_kept(h_last, h, lengths), _kept(c_last, c, lengths))


def dense_gru(x: Tensor, h: Tensor, weights: Sequence[Tensor], lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """That of ``dense.py``, of x (B, T, C), the state and the four weights."""
    y, h_last = _layer("GRU", x, (h,), weights, _GRU, lengths, {"linear_before_reset": 1})
    return y, _kept(h_last, h, lengths)


def _projected_lstm(
    x: Tensor, h: Tensor, c: Tensor, weights: Sequence[Tensor], lengths: Tensor | None
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Frame by frame: ONNX's LSTM has no projection."""
    w_ih, w_hh, b_ih, b_hh, w_hr = weights
    outputs = []
    for t, frame in enumerate(F.linear(x, w_ih, b_ih + b_hh).unbind(1)):
        i, f, g, o = (frame + F.linear(h, w_hh)).chunk(4, 1)
        c_next = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h_next = F.linear(o.sigmoid() * c_next.tanh(), w_hr)
        within = None if lengths is None else (t < lengths)[:, None]
        outputs.append(h_next if within is None else torch.where(within, h_next, 0))
        h = h_next if within is None else torch.where(within, h_next, h)
        c = c_next if within is None else torch.where(within, c_next, c)
    return torch.stack(outputs, 1), (h, c)


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


def lstm(
    wx: Tensor, R: Tensor, b: Tensor, state: tuple[Tensor, Tensor], lengths: Tensor | None
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """That of ``reference.py``, from a state, without resets."""
    order, dim = [0, 1, 3, 2], R.shape[-1]  # the gates that open, then the new

    def step(total: Tensor, frame: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[Tensor, ...]:
        opens, new = (total + frame[0]).split([3 * dim, dim], -1)
        i, f, o = opens.sigmoid().split(dim, -1)
        c = f * state[1] + i * new.tanh()
        return o * c.tanh(), c

    y, (h, c) = _heads(step, [_by_head(wx + b, order)], R[:, :, order], state, lengths)
    return y, (h, c)


def gru(wx: Tensor, R: Tensor, b: Tensor, b_n: Tensor, state: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """That of ``reference.py``, from a state, without resets."""
    dim = R.shape[-1]

    def step(total: Tensor, frame: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[Tensor, ...]:
        opens, new = total.split([2 * dim, dim], -1)
        r, z = (opens + frame[0]).sigmoid().split(dim, -1)
        new = (frame[1] + r * (new + b_n[:, None])).tanh()
        return (new + z * (state[0] - new),)

    wx = wx + b
    y, (h,) = _heads(step, [_by_head(wx, [0, 1]), _by_head(wx, [2])], R, (state,), lengths)
    return y, h


def _by_head(wx: Tensor, gates: list[int]) -> Tensor:
    """These gates of (B, T, gates, H, D) → (T, H, B, gates · D)."""
    return wx[:, :, gates].permute(1, 3, 0, 2, 4).flatten(3)


def _heads(
    step: Callable[..., tuple[Tensor, ...]],
    frames: Sequence[Tensor],
    R: Tensor,
    state: Sequence[Tensor],
    lengths: Tensor | None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """y (B, T, H, D), zero past each row's length, and the states (B, H, D) there."""
    weight = R.flatten(2)
    state = tuple(s.transpose(0, 1) for s in state)
    outputs = []
    for t, frame in enumerate(zip(*(each.unbind(0) for each in frames), strict=True)):
        after = step(state[0] @ weight, frame, state)
        if lengths is None:
            state = after
            outputs.append(after[0])
            continue
        within = (t < lengths)[:, None]
        state = tuple(torch.where(within, a, s) for a, s in zip(after, state, strict=True))
        outputs.append(torch.where(within, after[0], 0))
    return torch.stack(outputs).permute(2, 0, 1, 3), tuple(s.transpose(0, 1) for s in state)


def _kept(last: Tensor, before: Tensor, lengths: Tensor | None) -> Tensor:
    return last if lengths is None else torch.where(lengths[:, None] > 0, last, before)
