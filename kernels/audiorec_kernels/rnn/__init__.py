"""LSTM and GRU with lengths and states first-class."""

from torch import Tensor

from audiorec_kernels.arguments import check
from audiorec_kernels.backends import choose, tracing_for_onnx
from audiorec_kernels.rnn import onnx
from audiorec_kernels.rnn.dense import dense_gru, dense_lstm, dense_lstm_states, trains_natively

__all__ = ["dense_gru", "dense_lstm", "dense_lstm_states", "gru", "lstm", "trains_natively"]


def lstm(
    wx: Tensor,
    R: Tensor,
    b: Tensor,
    initial_state: tuple[Tensor, Tensor] | None = None,
    lengths: Tensor | None = None,
    reset: Tensor | None = None,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """An LSTM of H heads, each with a recurrent matrix of its own (FlashRNN, Pöppel et al. 2024): gates wx_t + R h_{t−1} + b.

    ``wx`` (B, T, 4, H, D) is the projected input, gates i, f, g, o as in ``torch.nn.LSTM``; ``R`` (H, D, 4, D) takes a
    head's state to its gates; ``b`` (4, H, D). The states h, c (B, H, D) are zeros at the start. Where ``reset`` (B, T),
    bool, is true, the states before that frame are zero. Returns y (B, T, H, D) in wx's dtype, zero past each row's
    length, and (h, c), float32 (float64), at each row's own length: a row of length 0 keeps its state bit for bit. What
    stands past a row's length reaches nothing. Raises ValueError where arguments disagree.
    """
    h, c = initial_state or (None, None)
    tensors = {"wx": (wx, "BTGHD"), "R": (R, "HDGD"), "b": (b, "GHD"), "initial h": (h, "BHD"), "initial c": (c, "BHD")}
    check("lstm", lengths, reset, **tensors)
    _check_gates("lstm", wx, 4)
    if tracing_for_onnx() and initial_state is not None and reset is None:
        return onnx.lstm(wx, R, b, initial_state, lengths)
    return choose(__name__, "lstm", wx)(wx, R, b, initial_state, lengths, reset)


def gru(
    wx: Tensor,
    R: Tensor,
    b: Tensor,
    b_n: Tensor,
    initial_state: Tensor | None = None,
    lengths: Tensor | None = None,
    reset: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """A GRU of H heads: ``wx`` (B, T, 3, H, D), gates r, z, n as in ``torch.nn.GRU``; ``R`` (H, D, 3, D); ``b`` (3, H, D).

    n = tanh(wx_n + b[2] + r (R_n h + b_n)): ``b_n`` (H, D) is the bias inside the reset product. The state h is
    (B, H, D); the rest is as in ``lstm``.
    """
    tensors = {"wx": (wx, "BTGHD"), "R": (R, "HDGD"), "b": (b, "GHD"), "b_n": (b_n, "HD")}
    check("gru", lengths, reset, **tensors, initial_state=(initial_state, "BHD"))
    _check_gates("gru", wx, 3)
    if tracing_for_onnx() and initial_state is not None and reset is None:
        return onnx.gru(wx, R, b, b_n, initial_state, lengths)
    return choose(__name__, "gru", wx)(wx, R, b, b_n, initial_state, lengths, reset)


def _check_gates(function: str, wx: Tensor, gates: int) -> None:
    if wx.shape[2] != gates:
        raise ValueError(f"{function}: wx must be (B, T, {gates}, H, D), got {tuple(wx.shape)}")
