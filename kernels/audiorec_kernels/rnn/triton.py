"""The head-wise LSTM and GRU on an NVIDIA GPU."""

from audiorec_kernels.rnn.triton_gru import gru
from audiorec_kernels.rnn.triton_lstm import lstm

__all__ = ["gru", "lstm"]
