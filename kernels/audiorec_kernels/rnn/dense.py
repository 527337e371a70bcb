"""LSTM and GRU with rows that stop at their own length: torch's own (oneDNN, cuDNN), never packed, or the native LSTM."""

import warnings

import torch
from torch import Tensor

from audiorec_kernels.backends import serving, tracing_for_onnx
from audiorec_kernels.native import WIDE
from audiorec_kernels.operator import watched
from audiorec_kernels.product import linear, packed
from audiorec_kernels.rnn import native, onnx
from audiorec_kernels.rnn.cell import gru_cell, lstm_cell

# Said of every LSTM with a projection, which torch computes in its own way.
warnings.filterwarnings("ignore", message="LSTM with projections is not supported with oneDNN")

# Gates saturate to exactly 0 and 1 in every dtype, bfloat16 included.
_SHUT = 1e4
# Frames, and frames of all rows together, up to which stepping cell by cell is the faster way: oneDNN's layer packs its weights
# anew on every call.
_FEW, _FEW_IN_ALL = 4, 8
# Rows up to which the native LSTM trains faster in bfloat16 than oneDNN's (docs/measurements.md).
_FEW_ROWS = 8


def dense_lstm(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    initial_state: tuple[Tensor, Tensor] | None = None,
    lengths: Tensor | None = None,
    projection: Tensor | None = None,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """One LSTM layer: ``x`` (B, T, C), T ≥ 1; weights as in ``torch.nn.LSTM`` (gates i, f, g, o); states h, c (B, D).

    With ``projection`` (P, D), torch's ``weight_hr``, y and h have P channels, which the recurrence reads (Sak et al. 2014).

    Returns y (B, T, D), zero past each row's length, and the state at each row's own length: a row of length 0 keeps its
    state bit for bit. An extra 0/1 input channel marks padding; its fixed weights shut the input gate and open the
    forget gate, which holds c exactly, and h is gathered. What ``x`` holds past a row's length reaches nothing.
    """
    batch, dim = x.shape[0], weight_ih.shape[0] // 4
    if initial_state is None:
        initial_state = x.new_zeros(batch, weight_hh.shape[1]), x.new_zeros(batch, dim)
    h0, c0 = (s.to(x.dtype) for s in initial_state)
    last = () if projection is None else (projection,)
    weights = weight_ih, weight_hh, bias_ih, bias_hh, *last
    if tracing_for_onnx():
        return onnx.dense_lstm(x, h0, c0, weights, lengths)
    padding = None if lengths is None else _padding(x, lengths)
    x = x if padding is None else x.masked_fill(padding, 0)
    if _few(x):
        return _few_lstm(x, h0, c0, weights, padding)
    if trains_natively(x, weights) and x.shape[0] <= _FEW_ROWS:
        y, (h, c) = native.lstm(*_in_one_head(x, weights), (h0[:, None], c0[:, None]), lengths, None)
        return y[:, :, 0], (h[:, 0], c[:, 0])
    if padding is None:
        y, h, c = _layer(x, h0, c0, *weights)
        return y, (h, c)
    shut = torch.cat([weight_ih.new_full((dim, 1), -_SHUT), weight_ih.new_full((dim, 1), _SHUT)])
    shut = torch.cat([shut, weight_ih.new_zeros(2 * dim, 1)])
    marked = torch.cat([x, padding.to(x.dtype)], 2)
    y, _, c = _layer(marked, h0, c0, torch.cat([weight_ih, shut], 1), *weights[1:])
    y = y * ~padding
    return y, (_last(y, lengths, h0), c)


def dense_lstm_states(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    initial_state: tuple[Tensor, Tensor],
    lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """h and c (B, T, D) after every frame of a ``dense_lstm``, zero past each row's length: where it ``trains_natively``.

    h is in the dtype of y, c in float32.
    """
    weights = weight_ih, weight_hh, bias_ih, bias_hh
    x = x if lengths is None else x.masked_fill(_padding(x, lengths), 0)
    wx, R, bias = _in_one_head(x, weights)
    h, c = native.states(wx, R, bias, tuple(state[:, None] for state in initial_state), lengths)
    return h[:, :, 0].to(wx.dtype), c[:, :, 0]


def dense_gru(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    initial_state: Tensor | None = None,
    lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """One GRU layer: ``x`` (B, T, C), T ≥ 1; weights as in ``torch.nn.GRU`` (gates r, z, n); state h (B, D).

    Returns y (B, T, D), zero past each row's length, and h at each row's own length: a row of length 0 keeps its state
    bit for bit. The output is the whole state, so h is gathered from it; nothing has to hold the state over padding, and
    what ``x`` holds past a row's length reaches nothing.
    """
    h0 = x.new_zeros(x.shape[0], weight_hh.shape[1]) if initial_state is None else initial_state.to(x.dtype)
    weights = weight_ih, weight_hh, bias_ih, bias_hh
    if tracing_for_onnx():
        return onnx.dense_gru(x, h0, weights, lengths)
    padding = None if lengths is None else _padding(x, lengths)
    x = x if padding is None else x.masked_fill(padding, 0)
    if _few(x):
        return _few_gru(x, h0, weights, padding)
    y, _ = torch.gru(x, h0[None], list(weights), True, 1, 0.0, _train(x), False, True)
    if padding is None:
        return y, y[:, -1]
    y = y * ~padding
    return y, _last(y, lengths, h0)


def _few(x: Tensor) -> bool:
    """Whether x (B, T, C) goes cell by cell."""
    if torch.compiler.is_compiling():
        return False
    return x.shape[1] <= _FEW or (x.is_cpu and x.shape[0] * x.shape[1] <= _FEW_IN_ALL)


def trains_natively(x: Tensor, weights: tuple[Tensor, ...]) -> bool:
    """Whether the native kernel can train a layer on ``x`` (B, T, C): in bfloat16, where a gradient is wanted."""
    return (
        WIDE
        and not torch.compiler.is_compiling()  # first: a look at sizes would bind a graph to them
        and len(weights) == 4  # no projection
        and x.is_cpu
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") is torch.bfloat16
        and watched((x, *weights))
        and serving("cpu") == "native"
    )


def _in_one_head(x: Tensor, weights: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """The projected input, recurrent matrix and bias of a layer as those of an LSTM of one head."""
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    wx, dim = linear(x, weight_ih), weight_hh.shape[1]
    return wx.unflatten(2, (4, 1, dim)), weight_hh.t().view(1, dim, 4, dim), (bias_ih + bias_hh).view(4, 1, dim)


def _padding(x: Tensor, lengths: Tensor) -> Tensor:
    """(B, T, 1) bool: true past each row's length."""
    return (torch.arange(x.shape[1], device=x.device) >= lengths[:, None])[..., None]


def _last(y: Tensor, lengths: Tensor, initial_state: Tensor) -> Tensor:
    """(B, D): each row's last valid frame, or its initial state where it has none."""
    last = (lengths - 1).clamp(min=0)[:, None, None].expand(-1, 1, y.shape[2])
    return torch.where(lengths[:, None] > 0, y.gather(1, last)[:, 0], initial_state)


def _train(x: Tensor) -> bool:
    """cuDNN keeps what its backward pass needs in training mode alone; there is no dropout that the mode could switch on."""
    return x.is_cuda and torch.is_grad_enabled()


def _layer(x: Tensor, h: Tensor, c: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    if x.is_cpu and torch.is_autocast_enabled("cpu") and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        # Autocast would ask oneDNN for an LSTM of bfloat16, which it refuses on a processor without such instructions.
        with torch.autocast("cpu", enabled=False):
            return _layer(*(tensor.float() for tensor in (x, h, c, *weights)))
    y, h_last, c_last = torch.lstm(x, (h[None], c[None]), list(weights), True, 1, 0.0, _train(x), False, True)
    # By shape, not [0]: while torch.export traces, torch gives them an axis more than they have.
    return y, h_last.view_as(h), c_last.view_as(c)


# Cell by cell. The input's product is one for all frames, so that each weight is read from memory once for them.


def _few_lstm(
    x: Tensor, h: Tensor, c: Tensor, weights: tuple[Tensor, ...], padding: Tensor | None
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    weight_ih, weight_hh, bias_ih, bias_hh, *projection = weights
    outputs = []
    weight_hh = weight_hh if x.shape[1] == 1 else packed(weight_hh, h)
    for t, gates in enumerate(linear(x, weight_ih, bias_ih).unbind(1)):
        h_next, c_next = lstm_cell(linear(h, weight_hh, gates), bias_hh, c)
        if projection:
            h_next = linear(h_next, projection[0])
        if padding is None:
            h, c = h_next, c_next
        else:
            h, c = torch.where(padding[:, t], h, h_next), torch.where(padding[:, t], c, c_next)
        outputs.append(h_next)
    y = outputs[0][:, None] if x.shape[1] == 1 else torch.stack(outputs, 1)
    return (y if padding is None else y * ~padding), (h, c)


def _few_gru(x: Tensor, h: Tensor, weights: tuple[Tensor, ...], padding: Tensor | None) -> tuple[Tensor, Tensor]:
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    outputs = []
    weight_hh = weight_hh if x.shape[1] == 1 else packed(weight_hh, h)
    # Each frame contiguous, as the cell reads it.
    for t, inputs in enumerate(linear(x.transpose(0, 1), weight_ih, bias_ih).unbind(0)):
        h_next = gru_cell(inputs, linear(h, weight_hh, bias_hh), h)
        h = h_next if padding is None else torch.where(padding[:, t], h, h_next)
        outputs.append(h_next)
    y = outputs[0][:, None] if x.shape[1] == 1 else torch.stack(outputs, 1)
    return (y if padding is None else y * ~padding), h
