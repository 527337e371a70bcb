"""Every module, chain and whole model that the laws are checked on. Registering one is one line: name: how to make it."""

import torch
from torch import nn

from audiorec.audio.logmel import LogMel, LogMelConfig
from audiorec.audio.nemo import NemoMel, NemoMelConfig
from audiorec.config import parse
from audiorec.encoders import build
from audiorec.encoders.attention import Context, SelfAttention
from audiorec.encoders.blstm import Bidirectional, Windows
from audiorec.encoders.fastconformer import FastConformerConfig
from audiorec.encoders.flash_rnn import FlashGru, FlashLstm
from audiorec.encoders.icefall_lstm import UnpaddedConvs
from audiorec.encoders.lmu import Lmu
from audiorec.encoders.mamba import Mamba
from audiorec.encoders.min_rnn import Block, MinGru, MinLstm, MinRnnOptions
from audiorec.encoders.prompt import LanguagePrompt, PromptConfig
from audiorec.encoders.rnn import Gru, Lstm
from audiorec.encoders.subsampling import Lead, StridedConv, StridedConv2d, SubsampledConfig
from audiorec.models import AsrModel, ModelConfig
from audiorec.models.language import LanguageConfig, LanguageModel
from audiorec.models.pooling import RunningMean
from audiorec.streaming import Parallel, Pointwise, Residual, Sequential
from audiorec.testing.lookahead import Ahead, ChunkMean


def linear(dim: int = 4, out: int = 4) -> Pointwise:
    return Pointwise(nn.Linear(dim, out), dim, out)


def log_mel(rate: int = 8000, bins: int = 7) -> LogMel:
    return LogMel(LogMelConfig(sample_rate=rate, bins=bins))


def nemo_mel(rate: int = 8000, bins: int = 7, mean: float = 0.0) -> NemoMel:
    """``mean`` is about 3 for the laws' noise: attention compares frames, which a common offset drowns."""
    module = NemoMel(NemoMelConfig(sample_rate=rate, bins=bins))
    module.set_statistics(torch.full((bins,), mean), torch.ones(bins))
    return module


# Encoders small enough for many tests; what a module does not say itself is this.
DEFAULTS = {"layers": 2, "dropout": 0.0}
_ATTENTION = {"dim": 8, "heads": 2, "expansion": 2, "strides": [2], "kernel": 3}
TINY = {
    "conformer": {**_ATTENTION, "conv_kernel": 3},
    "fastconformer": {**_ATTENTION, "planes": 3, "conv_kernel": 3},
    "transformer": _ATTENTION,
    **{kind: {"dim": 6} for kind in ("lstm", "gru", "blstm", "min_gru", "min_lstm")},
    **{kind: {"dim": 6, "heads": 2} for kind in ("flash_lstm", "flash_gru")},
    "icefall_lstm": {"dim": 6, "hidden": 13, "feed_forward": 8, "planes": 2},
    "mamba": {"dim": 6, "state_size": 3},
    "lmu": {"dim": 6, "channels": 3, "order": 4},
    "stack": {
        "dim": 8,
        "pattern": [
            {"kind": "mamba", "state_size": 3, "dropout": 0.0},
            {"kind": "transformer", "heads": 2, "expansion": 2, "left": 4, "right": 1, "dropout": 0.0},
            {"kind": "min_gru", "dropout": 0.0},
        ],
    },
}


def encoder(kind: str, input_dim: int = 7, **options) -> nn.Module:
    defaults = {} if kind == "stack" else DEFAULTS  # a pattern gives its layers their options
    return build({"kind": kind, **defaults, **TINY[kind], **options}, input_dim)


def whole_model(at: str | None = None, **encoder) -> Sequential:
    options = encoder or {"kind": "lstm", "dim": 6, "layers": 2, "dropout": 0}
    heads = {"transducer": {"joiner_dim": 4}, "ctc": {"at": at}} if at else "ctc"
    config = {"features": {"sample_rate": 8000, "bins": 7}, "encoder": options, "heads": heads}
    model = AsrModel(parse(ModelConfig, config), vocabulary=9).exit("ctc")
    dim = model.output_dim
    return Sequential(features=model.features, encoder=model.encoder, head=Pointwise(model.head(), dim, 9))


def attention(positions: str = "rotary", **context) -> SelfAttention:
    return shaken(SelfAttention(8, 2, Context(**context), positions=positions))


def shaken(module: nn.Module) -> nn.Module:
    """The module with biases of relative positions, which begin at zero, drawn."""
    for name, parameter in module.named_parameters():
        if name.endswith(("bias_u", "bias_v")):
            nn.init.normal_(parameter)
    return module


def conformer(*contexts: dict, **options) -> nn.Module:
    return encoder("conformer", contexts=list(contexts), **options)


def fastconformer(*contexts: dict, **options) -> nn.Module:
    return shaken(encoder("fastconformer", contexts=list(contexts), **options))


def windows(chunk: int, look_ahead: int, layers: int | None = None) -> Windows:
    both = [Bidirectional(Lstm(4, 2), Lstm(4, 2), 0.0) for _ in range(layers or DEFAULTS["layers"])]
    return Windows(both, 4, chunk, look_ahead)


def language_model(*pattern: dict | str) -> Sequential:
    """All between the embedding and the softmax."""
    options = [{"kind": layer, "dropout": 0.0} if isinstance(layer, str) else layer for layer in pattern]
    return LanguageModel(parse(LanguageConfig, {"dim": 6, "pattern": options}), vocabulary=9).body


MODULES = {
    "language model": lambda: language_model("min_gru", "lstm"),
    "pointwise": linear,
    "ahead": lambda: Ahead(4, 2),
    "chunk mean": lambda: ChunkMean(4, 3),
    "strided conv 2": lambda: StridedConv(4, 5, stride=2, kernel=3),
    "strided conv 3, no overlap": lambda: StridedConv(4, 5, stride=3, kernel=3),
    "strided conv, separable": lambda: StridedConv(4, 5, stride=2, kernel=5, separable=True),
    "strided conv over frequency": lambda: StridedConv2d(2, 5, 3, stride=2, kernel=3),
    "strided conv over frequency, separable": lambda: StridedConv2d(2, 4, 3, stride=3, kernel=3, separable=True),
    "subsampling 4 over frequency": lambda: SubsampledConfig(planes=3).subsampling(7, 5),
    "subsampling 8": lambda: SubsampledConfig(strides=[2, 2, 2]).subsampling(4, 5),
    "subsampling 6": lambda: SubsampledConfig(strides=[3, 2], separable=False).subsampling(4, 5),
    "lead and strided conv": lambda: Sequential(Lead(4, 1), StridedConv(4, 5, stride=2, kernel=3)),
    "lead and strided conv over frequency": lambda: Sequential(
        Lead(8, 2), StridedConv2d(2, 4, 3, stride=3, kernel=4, separable=True, low=2)
    ),
    "leads of 1 before 8": lambda: FastConformerConfig(planes=3, scale_input=True).subsampling(7, 5),
    "leads of 2 and 1 before 6": lambda: FastConformerConfig(planes=3, strides=[3, 2], kernel=4).subsampling(7, 5),
    "lstm": lambda: Lstm(4, 3),
    "lstm, projected": lambda: Lstm(4, 3, cells=5),
    "log-mel 8 kHz": log_mel,
    "log-mel 16 kHz": lambda: log_mel(16000, 5),
    "NeMo's mel 8 kHz": nemo_mel,
    "NeMo's mel 16 kHz": lambda: nemo_mel(16000, 5),
    "chain with rests": lambda: Sequential(ChunkMean(4, 2), StridedConv(4, 4, 3, 4), ChunkMean(4, 2), linear()),
    "chain of look-aheads": lambda: Sequential(Ahead(4, 3), StridedConv(4, 4, 2, 3), Ahead(4, 1), Lstm(4, 4)),
    "chain in a chain": lambda: Sequential(linear(), Sequential(Ahead(4, 1), ChunkMean(4, 4)), StridedConv(4, 4, 2, 2)),
    "residual of look-ahead": lambda: Residual(Ahead(4, 3)),
    "residual of a chain": lambda: Residual(Sequential(Ahead(4, 2), ChunkMean(4, 3), linear())),
    "residuals in a chain": lambda: Sequential(StridedConv(4, 4, 3, 5), Residual(Ahead(4, 2)), Residual(Ahead(4, 1))),
    "parallel sum": lambda: Parallel(Ahead(4, 1), Ahead(4, 3), ChunkMean(4, 3)),
    "parallel concat": lambda: Parallel(ahead=Ahead(4, 2), lstm=Lstm(4, 3), combine="concat"),
    "parallel strided": lambda: Parallel(StridedConv(4, 4, 2, 3), Sequential(Ahead(4, 3), StridedConv(4, 4, 2, 2))),
    "lstm encoder 4": lambda: encoder("lstm"),
    "lstm encoder 3": lambda: encoder("lstm", strides=[3], kernel=4),
    "samples to look-aheads": lambda: Sequential(
        log_mel(), Residual(Ahead(7, 2)), StridedConv(7, 7, 3, 5), ChunkMean(7, 2)
    ),
    "whole model": whole_model,
    "language prompt": lambda: LanguagePrompt(PromptConfig(classes=5, languages={"auto": 1}), 4).in_language("auto"),
    "running mean": lambda: RunningMean(4),
    # attention
    "attention, causal": lambda: attention(left=5),
    "attention, regular": lambda: attention(left=4, right=3),
    "attention, regular, no left": lambda: attention(left=0, right=2),
    "attention, chunk": lambda: attention(left=5, chunk=3),
    "attention, chunk, no left": lambda: attention(left=0, chunk=4),
    "attention, relative, causal": lambda: attention("relative", left=5),
    "attention, relative, regular": lambda: attention("relative", left=4, right=3),
    "attention, relative, chunk": lambda: attention("relative", left=5, chunk=3),
    "attention, relative, chunk, no left": lambda: attention("relative", left=0, chunk=4),
    "fastconformer causal": lambda: fastconformer({"left": 4}),
    "fastconformer chunk 3": lambda: fastconformer({"left": 4, "chunk": 3}, strides=[2, 2], scale_input=True),
    "fastconformer chunk 2, by 8": lambda: fastconformer({"left": 3, "chunk": 2}, strides=[2, 2, 2], layers=1),
    "fastconformer view at a latency": lambda: fastconformer({"left": 4}, {"left": 5, "chunk": 3}).at_latency(80, 40),
    "samples to fastconformer": lambda: Sequential(
        features=nemo_mel(mean=3.0), encoder=fastconformer({"left": 4, "chunk": 2}, strides=[2, 2], layers=1)
    ),
    "conformer causal": lambda: conformer({"left": 4}),
    "conformer regular": lambda: conformer({"left": 4, "right": 2}),
    "conformer chunk": lambda: conformer({"left": 4, "chunk": 3}),
    "conformer chunk 4, subsampling 6": lambda: conformer({"left": 3, "chunk": 4}, strides=[3, 2], layers=1),
    "conformer chunk 2, subsampling 8": lambda: conformer({"left": 3, "chunk": 2}, strides=[2, 2, 2], conv_kernel=1),
    "conformer view at a latency": lambda: conformer({"left": 4}, {"left": 5, "chunk": 3}).at_latency(80, 40),
    "conformer view with fewer cached frames": lambda: conformer({"left": 7, "chunk": 2}, {"chunk": None}).at_latency(
        40, 40, left=3
    ),
    "transformer": lambda: encoder("transformer", left=4),
    "transformer looking ahead": lambda: encoder("transformer", left=3, right=2, strides=[3]),
    "samples to conformer": lambda: Sequential(features=log_mel(), encoder=conformer({"left": 4, "chunk": 3})),
    # recurrent
    "gru": lambda: Gru(4, 3),
    "flash_lstm": lambda: FlashLstm(4, 6, heads=3),
    "flash_gru": lambda: FlashGru(4, 6, heads=2),
    "min_gru": lambda: MinGru(4, 3),
    "min_lstm": lambda: MinLstm(4, 3),
    "min_rnn block": lambda: Block(MinRnnOptions(conv_kernel=3, dropout=0.0), MinGru(4, 5)),
    "windows 3 + 2": lambda: windows(3, 2),
    "windows 2 + 5": lambda: windows(2, 5),
    "windows 4 + 0": lambda: windows(4, 0),
    "windows 1 + 0": lambda: windows(1, 0, layers=1),
    "lstm encoder, projected, reduced": lambda: encoder("lstm", layers=2, strides=[2], hidden=5, reduce_after=[1]),
    "gru encoder 4": lambda: encoder("gru"),
    "gru encoder 8, projected": lambda: encoder("gru", strides=[2, 2, 2], hidden=8),
    "gru encoder, reduced": lambda: encoder("gru", strides=[3], layers=3, reduce_after=[1, 2]),
    "flash_lstm encoder 4": lambda: encoder("flash_lstm"),
    "flash_lstm encoder, projected, reduced": lambda: encoder(
        "flash_lstm", layers=2, strides=[3], hidden=9, heads=3, reduce_after=[1]
    ),
    "flash_gru encoder 4": lambda: encoder("flash_gru"),
    "flash_gru encoder 8, projected": lambda: encoder("flash_gru", strides=[2, 2, 2], hidden=8, heads=1),
    "blstm encoder 4": lambda: encoder("blstm", chunk=2, look_ahead=1),
    "blstm encoder 8": lambda: encoder("blstm", layers=1, strides=[2, 2, 2], chunk=3, look_ahead=2),
    "unpadded convs 4": lambda: UnpaddedConvs(11, [2, 3, 4], [1, 2, 2], 3, -2.5),
    "unpadded convs 6": lambda: UnpaddedConvs(7, [2, 3], [3, 2], 4, 0.5),
    "icefall_lstm encoder 4": lambda: encoder("icefall_lstm", 9),
    "icefall_lstm encoder 3, unprojected": lambda: encoder("icefall_lstm", strides=[3], hidden=6, padding=-1.0),
    "exit of an icefall_lstm": lambda: encoder("icefall_lstm").exit("layer0"),
    "min_gru encoder 4": lambda: encoder("min_gru"),
    "min_gru encoder 8, wide": lambda: encoder("min_gru", strides=[2, 2, 2], expansion=3, conv_kernel=1),
    "min_lstm encoder 4": lambda: encoder("min_lstm"),
    # patterns
    "stack of three kinds": lambda: encoder("stack"),
    "stack with a conformer of chunks": lambda: encoder(
        "stack",
        strides=[2],
        pattern=[
            {"kind": "lstm", "dropout": 0.0},
            {"kind": "conformer", "heads": 2, "expansion": 2, "left": 3, "chunk": 2, "dropout": 0.0},
            {"kind": "lmu", "channels": 2, "order": 3, "dropout": 0.0},
        ],
    ),
    # exits: the chain as far as a head on an inner layer reads it, and what lies beyond looks further ahead
    "exit of a stack": lambda: encoder("stack").exit("layer1"),
    "exit of a conformer that looks ahead": lambda: conformer({"left": 4, "right": 2}).exit("layer0"),
    "exit of a conformer of chunks": lambda: conformer({"left": 4, "chunk": 3}).exit("layer0"),
    "exit before a reduction": lambda: encoder("gru", strides=[2], layers=3, reduce_after=[1, 2]).exit("layer1"),
    "exit after a reduction": lambda: encoder("gru", strides=[2], layers=3, reduce_after=[1, 2]).exit("reduction0"),
    "model as far as a head on layer 0": lambda: whole_model("layer0", kind="stack", **TINY["stack"]),
    "model as far as a head on layer 1": lambda: whole_model("layer1", kind="stack", **TINY["stack"]),
    # state-space models
    "mamba": lambda: Mamba(5, 3, state_size=2),
    "mamba, other sizes": lambda: Mamba(4, 4, state_size=3, expand=1, kernel=2, dt_rank=3),
    "mamba encoder 4": lambda: encoder("mamba"),
    "mamba encoder 3": lambda: encoder("mamba", strides=[3], conv_kernel=1),
    "mamba both ways 4": lambda: encoder("mamba", bidirectional=True, chunk=2, look_ahead=1),
    "mamba both ways 3": lambda: encoder("mamba", strides=[3], bidirectional=True, chunk=3, look_ahead=0),
    "lmu": lambda: Lmu(5, channels=2, order=3, theta=6.5),
    "lmu, order above theta": lambda: Lmu(4, channels=2, order=8, theta=3.0),
    "lmu encoder 4": lambda: encoder("lmu"),
    "lmu encoder 3": lambda: encoder("lmu", layers=2, strides=[3], theta=[0.2, 0.6]),
    "lmuformer 4": lambda: encoder("lmu", arrangement="lmuformer"),
    "lmuformer 3": lambda: encoder(
        "lmu", arrangement="lmuformer", strides=[3], separable=False, embedding_layers=1, expand=1
    ),
}

# Encoders as a recipe would have them: too large for every run. Both subsamplings, every kind of latency.
BY_FOUR, BY_EIGHT = {"strides": [2, 2]}, {"strides": [2, 2, 2]}


def _full_size(kind: str, name: str = "", **options) -> dict:
    return {
        f"{name or kind}, full size, by {4 if strides is BY_FOUR else 8}": lambda strides=strides: build(
            {"kind": kind, "dropout": 0.0, **strides, **options}, 80
        )
        for strides in (BY_FOUR, BY_EIGHT)
    }


LARGE = {
    **_full_size("lstm"),
    **_full_size("gru"),
    **_full_size("flash_lstm"),
    **_full_size("flash_gru"),
    **_full_size("blstm", chunk=4, look_ahead=2),  # a window for every few frames of the test
    **_full_size("mamba"),
    **_full_size("mamba", "mamba both ways", bidirectional=True, layers=2, chunk=4, look_ahead=2),
    **_full_size("lmu"),
    **_full_size("lmu", "lmuformer", arrangement="lmuformer"),
    # Of two layers: the gradient of a norm's one number is a sum over all channels and frames, which deeper ones round.
    "icefall_lstm, full size": lambda: build({"kind": "icefall_lstm", "dropout": 0.0, "layers": 2}, 80),
    **_full_size("min_gru"),
    **_full_size("min_lstm"),
    **_full_size("transformer"),
    **_full_size("transformer", "transformer looking ahead", right=2),
    **_full_size("fastconformer", layers=3, planes=64, contexts=[{"left": 30, "chunk": 7}]),
    **_full_size("conformer", "conformer regular", contexts=[{"left": 32, "right": 1}]),
}
for chunk in (1, 2, 7, 14):  # 0, 80, 480 and 1040 ms at 80 ms a frame
    LARGE |= _full_size("conformer", f"conformer chunk {chunk}", contexts=[{"left": 32, "chunk": chunk}])
