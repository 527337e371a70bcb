"""LSTM with lengths and states first-class."""

from audiorec_kernels.rnn.dense import dense_lstm

__all__ = ["dense_lstm"]
