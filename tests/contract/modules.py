"""Every module, chain and whole model that the laws are checked on. Registering one is one line: name: how to make it."""

from torch import nn

from audiorec.audio.logmel import LogMel, LogMelConfig
from audiorec.encoders import build
from audiorec.encoders.lmu import Lmu
from audiorec.encoders.mamba import Mamba
from audiorec.encoders.rnn import Lstm
from audiorec.encoders.subsampling import StridedConv, SubsampledConfig, subsampling
from audiorec.streaming import Parallel, Pointwise, Residual, Sequential

from .lookahead import Ahead, ChunkMean


def linear(dim: int = 4, out: int = 4) -> Pointwise:
    return Pointwise(nn.Linear(dim, out), dim, out)


def log_mel(rate: int = 8000, bins: int = 7) -> LogMel:
    return LogMel(LogMelConfig(sample_rate=rate, bins=bins))


def lstm_encoder(input_dim: int = 7, **options) -> nn.Module:
    return build({"kind": "lstm", "dim": 6, "layers": 2, "dropout": 0.0, **options}, input_dim)


def mamba_encoder(**options) -> nn.Module:
    return build({"kind": "mamba", "dim": 6, "layers": 2, "state_size": 3, "dropout": 0.0, **options}, 7)


def lmu_encoder(**options) -> nn.Module:
    return build({"kind": "lmu", "dim": 6, "layers": 2, "channels": 3, "order": 4, "dropout": 0.0, **options}, 7)


MODULES = {
    "pointwise": linear,
    "ahead": lambda: Ahead(4, 2),
    "chunk mean": lambda: ChunkMean(4, 3),
    "strided conv 2": lambda: StridedConv(4, 5, stride=2, kernel=3),
    "strided conv 3, no overlap": lambda: StridedConv(4, 5, stride=3, kernel=3),
    "strided conv, separable": lambda: StridedConv(4, 5, stride=2, kernel=5, separable=True),
    "subsampling 8": lambda: subsampling(SubsampledConfig(strides=[2, 2, 2]), 4, 5),
    "subsampling 6": lambda: subsampling(SubsampledConfig(strides=[3, 2], separable=False), 4, 5),
    "lstm": lambda: Lstm(4, 3),
    "log-mel 8 kHz": log_mel,
    "log-mel 16 kHz": lambda: log_mel(16000, 5),
    "chain with rests": lambda: Sequential(ChunkMean(4, 2), StridedConv(4, 4, 3, 4), ChunkMean(4, 2), linear()),
    "chain of look-aheads": lambda: Sequential(Ahead(4, 3), StridedConv(4, 4, 2, 3), Ahead(4, 1), Lstm(4, 4)),
    "chain in a chain": lambda: Sequential(linear(), Sequential(Ahead(4, 1), ChunkMean(4, 4)), StridedConv(4, 4, 2, 2)),
    "residual of look-ahead": lambda: Residual(Ahead(4, 3)),
    "residual of a chain": lambda: Residual(Sequential(Ahead(4, 2), ChunkMean(4, 3), linear())),
    "residuals in a chain": lambda: Sequential(StridedConv(4, 4, 3, 5), Residual(Ahead(4, 2)), Residual(Ahead(4, 1))),
    "parallel sum": lambda: Parallel(Ahead(4, 1), Ahead(4, 3), ChunkMean(4, 3)),
    "parallel concat": lambda: Parallel(ahead=Ahead(4, 2), lstm=Lstm(4, 3), combine="concat"),
    "parallel strided": lambda: Parallel(StridedConv(4, 4, 2, 3), Sequential(Ahead(4, 3), StridedConv(4, 4, 2, 2))),
    "lstm encoder 4": lstm_encoder,
    "lstm encoder 3": lambda: lstm_encoder(strides=[3], kernel=4),
    "samples to look-aheads": lambda: Sequential(
        log_mel(), Residual(Ahead(7, 2)), StridedConv(7, 7, 3, 5), ChunkMean(7, 2)
    ),
    "samples to lstm": lambda: Sequential(features=log_mel(), encoder=lstm_encoder(strides=[3]), head=linear(6, 9)),
    # state-space models
    "mamba": lambda: Mamba(5, 3, state_size=2),
    "mamba, other sizes": lambda: Mamba(4, 4, state_size=3, expand=1, kernel=2, dt_rank=3),
    "mamba encoder 4": mamba_encoder,
    "mamba encoder 3": lambda: mamba_encoder(strides=[3], conv_kernel=1),
    "lmu": lambda: Lmu(5, channels=2, order=3, theta=6.5),
    "lmu, order above theta": lambda: Lmu(4, channels=2, order=8, theta=3.0),
    "lmu encoder 4": lmu_encoder,
    "lmu encoder 3": lambda: lmu_encoder(strides=[3], theta=[0.2, 0.6]),
    "lmuformer 4": lambda: lmu_encoder(arrangement="lmuformer"),
    "lmuformer 3": lambda: lmu_encoder(
        arrangement="lmuformer", strides=[3], separable=False, embedding_layers=1, expand=1
    ),
}
