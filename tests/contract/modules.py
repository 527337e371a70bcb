"""Every module, chain and whole model that the laws are checked on. Registering one is one line: name: how to make it."""

from torch import nn

from audiorec.audio.logmel import LogMel, LogMelConfig
from audiorec.config import parse
from audiorec.encoders import build
from audiorec.encoders.attention import Context, SelfAttention
from audiorec.encoders.blstm import Bidirectional, Windows
from audiorec.encoders.lmu import Lmu
from audiorec.encoders.mamba import Mamba
from audiorec.encoders.min_rnn import Block, MinGru, MinLstm
from audiorec.encoders.rnn import Gru, Lstm
from audiorec.encoders.subsampling import StridedConv, SubsampledConfig, subsampling
from audiorec.models import AsrModel, ModelConfig
from audiorec.models.pooling import RunningMean
from audiorec.streaming import Parallel, Pointwise, Residual, Sequential

from .lookahead import Ahead, ChunkMean


def linear(dim: int = 4, out: int = 4) -> Pointwise:
    return Pointwise(nn.Linear(dim, out), dim, out)


def log_mel(rate: int = 8000, bins: int = 7) -> LogMel:
    return LogMel(LogMelConfig(sample_rate=rate, bins=bins))


def lstm_encoder(input_dim: int = 7, **options) -> nn.Module:
    return build({"kind": "lstm", "dim": 6, "layers": 2, "dropout": 0.0, **options}, input_dim)


def whole_model() -> Sequential:
    config = {
        "features": {"sample_rate": 8000, "bins": 7},
        "encoder": {"kind": "lstm", "dim": 6, "layers": 2, "dropout": 0},
    }
    model = AsrModel(parse(ModelConfig, {**config, "heads": "ctc"}), vocabulary=9)
    return Sequential(features=model.features, encoder=model.encoder, head=Pointwise(model.head(), 6, 9))


def attention(**context) -> SelfAttention:
    return SelfAttention(8, 2, Context(**context))


def conformer(*contexts: dict, input_dim: int = 5, **options) -> nn.Module:
    tiny = {"dim": 8, "heads": 2, "layers": 2, "expansion": 2, "conv_kernel": 3, "strides": [2], "kernel": 3}
    return build({"kind": "conformer", **tiny, "dropout": 0.0, "contexts": list(contexts), **options}, input_dim)


def transformer(input_dim: int = 5, **options) -> nn.Module:
    tiny = {"dim": 8, "heads": 2, "layers": 2, "expansion": 2, "strides": [2], "kernel": 3}
    return build({"kind": "transformer", **tiny, "dropout": 0.0, **options}, input_dim)


def recurrent_encoder(kind: str, **options) -> nn.Module:
    return build({"kind": kind, "dim": 6, "layers": 2, "dropout": 0.0, **options}, 7)


def windows(chunk: int, look_ahead: int, layers: int = 2) -> Windows:
    return Windows([Bidirectional(Lstm(4, 2), Lstm(4, 2), 0.0) for _ in range(layers)], 4, chunk, look_ahead)


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
    "whole model": whole_model,
    "running mean": lambda: RunningMean(4),
    # attention
    "attention, causal": lambda: attention(left=5),
    "attention, regular": lambda: attention(left=4, right=3),
    "attention, regular, no left": lambda: attention(left=0, right=2),
    "attention, chunk": lambda: attention(left=5, chunk=3),
    "attention, chunk, no left": lambda: attention(left=0, chunk=4),
    "conformer causal": lambda: conformer({"left": 4}),
    "conformer regular": lambda: conformer({"left": 4, "right": 2}),
    "conformer chunk": lambda: conformer({"left": 4, "chunk": 3}),
    "conformer chunk 4, subsampling 6": lambda: conformer({"left": 3, "chunk": 4}, strides=[3, 2], layers=1),
    "conformer chunk 2, subsampling 8": lambda: conformer({"left": 3, "chunk": 2}, strides=[2, 2, 2], conv_kernel=1),
    "conformer view at a latency": lambda: conformer({"left": 4}, {"left": 5, "chunk": 3}).at_latency(80, 40),
    "conformer view with fewer cached frames": lambda: conformer({"left": 7, "chunk": 2}, {"chunk": None}).at_latency(
        40, 40, left=3
    ),
    "transformer": lambda: transformer(left=4),
    "transformer looking ahead": lambda: transformer(left=3, right=2, strides=[3]),
    "samples to conformer": lambda: Sequential(
        features=log_mel(), encoder=conformer({"left": 4, "chunk": 3}, input_dim=7, layers=1)
    ),
    # recurrent
    "gru": lambda: Gru(4, 3),
    "min_gru": lambda: MinGru(4, 3),
    "min_lstm": lambda: MinLstm(4, 3),
    "min_rnn block": lambda: Block(4, MinGru(4, 5), kernel=3, mlp=6, dropout=0.0),
    "windows 3 + 2": lambda: windows(3, 2),
    "windows 2 + 5": lambda: windows(2, 5),
    "windows 4 + 0": lambda: windows(4, 0),
    "windows 1 + 0": lambda: windows(1, 0, layers=1),
    "lstm encoder, projected, reduced": lambda: recurrent_encoder("lstm", strides=[2], hidden=5, reduce_after=[1]),
    "gru encoder 4": lambda: recurrent_encoder("gru"),
    "gru encoder 8, projected": lambda: recurrent_encoder("gru", strides=[2, 2, 2], hidden=8),
    "gru encoder, reduced": lambda: recurrent_encoder("gru", strides=[3], layers=3, reduce_after=[1, 2]),
    "blstm encoder 4": lambda: recurrent_encoder("blstm", chunk=2, look_ahead=1),
    "blstm encoder 8": lambda: recurrent_encoder("blstm", layers=1, strides=[2, 2, 2], chunk=3, look_ahead=2),
    "min_gru encoder 4": lambda: recurrent_encoder("min_gru"),
    "min_gru encoder 8, wide": lambda: recurrent_encoder("min_gru", strides=[2, 2, 2], expansion=3, conv_kernel=1),
    "min_lstm encoder 4": lambda: recurrent_encoder("min_lstm"),
    # state-space models
    "mamba": lambda: Mamba(5, 3, state_size=2),
    "mamba, other sizes": lambda: Mamba(4, 4, state_size=3, expand=1, kernel=2, dt_rank=3),
    "mamba encoder 4": mamba_encoder,
    "mamba encoder 3": lambda: mamba_encoder(strides=[3], conv_kernel=1),
    "mamba both ways 4": lambda: mamba_encoder(bidirectional=True, chunk=2, look_ahead=1),
    "mamba both ways 3": lambda: mamba_encoder(strides=[3], bidirectional=True, chunk=3, look_ahead=0),
    "lmu": lambda: Lmu(5, channels=2, order=3, theta=6.5),
    "lmu, order above theta": lambda: Lmu(4, channels=2, order=8, theta=3.0),
    "lmu encoder 4": lmu_encoder,
    "lmu encoder 3": lambda: lmu_encoder(strides=[3], theta=[0.2, 0.6]),
    "lmuformer 4": lambda: lmu_encoder(arrangement="lmuformer"),
    "lmuformer 3": lambda: lmu_encoder(
        arrangement="lmuformer", strides=[3], separable=False, embedding_layers=1, expand=1
    ),
}
