"""How far one set of frame-wise posteriors is from another."""

from torch import Tensor

from audiorec.streaming import valid


def divergence(wanted: Tensor, said: Tensor, lengths: Tensor) -> Tensor:
    """The Kullback-Leibler divergence of ``said`` from ``wanted``, both log-probabilities (B, T, V), summed over each row's valid
    frames, ``lengths`` (B,), and over rows: a scalar."""
    apart = (wanted.exp() * (wanted - said)).sum(-1)
    return apart.where(valid(lengths, apart.shape[1]), 0.0).sum()
