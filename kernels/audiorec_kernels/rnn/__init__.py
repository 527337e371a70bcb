"""LSTM and GRU with lengths and states first-class."""

from audiorec_kernels.rnn.dense import dense_gru, dense_lstm

__all__ = ["dense_gru", "dense_lstm"]
