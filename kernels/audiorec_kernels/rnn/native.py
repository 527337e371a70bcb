"""The head-wise LSTM on a CPU: csrc/lstm.cpp."""

import torch
import torch.nn.functional as F
from torch import Tensor

from audiorec_kernels.arguments import dense
from audiorec_kernels.native import kernel, threads
from audiorec_kernels.operator import Operator

_COLUMNS = 48  # of a tile, as in csrc/tiles.h

_lstm = kernel("lstm", sizes=5, tensors=11)
_lstm_backward = kernel("lstm_backward", sizes=5, tensors=12)


def lstm(
    wx: Tensor,
    R: Tensor,
    b: Tensor,
    initial_state: tuple[Tensor, Tensor] | None,
    lengths: Tensor | None,
    reset: Tensor | None,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    h, c = initial_state or wx.new_zeros(2, wx.shape[0], *wx.shape[3:], dtype=torch.float32).unbind()
    y, h, c, *_ = _run(wx, R, b, h, c, lengths, reset)
    return y.to(wx.dtype), (h, c)


def states(
    wx: Tensor, R: Tensor, b: Tensor, initial_state: tuple[Tensor, Tensor], lengths: Tensor | None
) -> tuple[Tensor, Tensor]:
    """h and c (B, T, H, D) after every frame, float32, zero past each row's length."""
    y, _, _, _, cells = _run(wx, R, b, *initial_state, lengths, None)
    return y, cells


def _run(
    wx: Tensor, R: Tensor, b: Tensor, h: Tensor, c: Tensor, lengths: Tensor | None, reset: Tensor | None
) -> tuple[Tensor, ...]:
    options = dense(lengths, torch.int64), dense(reset, torch.bool), wx.dtype is torch.bfloat16
    return _LSTM(dense(wx), dense(R), dense(b), dense(h), dense(c), *options)


def _tiles(matrix: Tensor, narrow: bool) -> Tensor:
    """(H, K, N) as tiles.h reads it: (H, tiles, K, columns of a tile), or ``narrow`` (H, tiles, K / 2, columns, 2)."""
    heads, rows, columns = matrix.shape
    if narrow:
        padded = F.pad(matrix.bfloat16(), (0, -columns % _COLUMNS, 0, rows % 2))
        return padded.view(heads, -1, 2, padded.shape[2] // _COLUMNS, _COLUMNS).permute(0, 3, 1, 4, 2).contiguous()
    padded = F.pad(matrix, (0, -columns % _COLUMNS))
    return padded.view(heads, rows, -1, _COLUMNS).transpose(1, 2).contiguous()


def _outputs(wx: Tensor, R: Tensor, b: Tensor, h: Tensor, c: Tensor, *_) -> tuple[Tensor, ...]:
    """y, the last h and c; the gates after their activations and every c (B, T, H, D), for the gradient."""
    y = wx.new_empty(*wx.shape[:2], *wx.shape[3:])
    return y, torch.empty_like(h), torch.empty_like(c), torch.empty_like(wx), torch.empty_like(y)


def _forward(
    wx: Tensor,
    R: Tensor,
    b: Tensor,
    h: Tensor,
    c: Tensor,
    lengths: Tensor | None,
    reset: Tensor | None,
    narrow: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    outputs = _outputs(wx, R, b, h, c)
    outputs[1].copy_(h)
    outputs[2].copy_(c)
    rows, time, _, heads, dim = wx.shape
    inputs = wx, _tiles(R.flatten(2), narrow), b, lengths, reset
    work = wx.new_zeros(rows, heads, 4, dim)
    _lstm(rows, time, heads, dim, int(narrow), *inputs, *outputs, work, threads(dim * wx.numel()))
    return outputs


def _gradients(dy: Tensor, dh: Tensor, dc: Tensor, dkept: Tensor, dcells: Tensor, *inputs) -> tuple[Tensor, ...]:
    return tuple(map(torch.empty_like, inputs[:5]))  # wx, R, b, h, c


def _backward(
    dy: Tensor,
    dh: Tensor,
    dc: Tensor,
    dkept: Tensor,
    dcells: Tensor,
    kept: Tensor,
    R: Tensor,
    b: Tensor,
    h: Tensor,
    c: Tensor,
    lengths: Tensor | None,
    reset: Tensor | None,
    narrow: bool,
    y: Tensor,
    cells: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """What the frames share, R's gradient and the bias's, is one product and one sum after the loop."""
    rows, time, _, heads, dim = kept.shape
    dwx, dh, dc = torch.empty_like(kept), dh.clone(), dc.clone()
    inputs = dy, dcells, _tiles(R.flatten(2).transpose(1, 2), narrow), kept, cells, c, lengths, reset
    work = kept.new_zeros(rows, heads, 4, dim)
    _lstm_backward(rows, time, heads, dim, int(narrow), *inputs, dwx, dh, dc, work, threads(dim * dwx.numel()))
    before = torch.cat([h[:, None], y], 1)[:, :time]
    if reset is not None:
        before = before.masked_fill(reset[..., None, None], 0)
    factors = before.permute(2, 3, 0, 1).flatten(2), dwx.permute(3, 0, 1, 2, 4).reshape(heads, rows * time, 4 * dim)
    dR = torch.bmm(*(x.bfloat16() for x in factors)).float() if narrow else torch.bmm(*factors)
    return dwx, dR.view_as(R), dwx.sum((0, 1)), dh, dc


def _keep(inputs: tuple, outputs: tuple) -> tuple:
    (_, *rest), (y, _, _, kept, cells) = inputs, outputs
    return kept, *rest, y, cells


_LSTM = Operator("lstm_native", _forward, _outputs, _keep, _backward, _gradients)
