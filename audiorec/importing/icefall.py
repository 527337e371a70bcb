"""icefall's LSTM transducer (``lstm_transducer_stateless3``): a folder, or its ``pretrained.pt``, in this library's terms."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from audiorec.decoders.stateless import GROUP
from audiorec.errors import UserError
from audiorec.importing.archive import load_weights
from audiorec.importing.foreign import Foreign
from audiorec.importing.icefall_tokens import read_tokens

SUPPORTED = "supported of icefall: the LSTM transducer, lstm_transducer_stateless3"
PADDING = math.log(1e-10)  # of the features after the last, in icefall's batches and streams
SAMPLE_RATE = 16000

_LAYER = r"^encoder\.encoder\.layers\.(\d+)\."
_RENAMED = [
    (r"^encoder\.encoder_embed\.conv\.", "encoder.subsampling.convs.convs."),
    (r"^encoder\.encoder_embed\.out\.", "encoder.subsampling.out.module."),
    (r"^encoder\.encoder_embed\.out_norm\.", "encoder.subsampling.norm.module."),
    (_LAYER + r"lstm\.", r"encoder.layer\1.lstm.weights."),
    (_LAYER + r"feed_forward\.0\.", r"encoder.layer\1.feed_forward.0."),
    (_LAYER + r"feed_forward\.4\.", r"encoder.layer\1.feed_forward.3."),
    (_LAYER + r"norm_final\.", r"encoder.layer\1.norm."),
    (r"^decoder\.", "heads.transducer.predictor."),
    (r"^joiner\.encoder_proj\.", "heads.transducer.joiner.encoder_proj."),
    (r"^joiner\.decoder_proj\.", "heads.transducer.joiner.predictor_proj."),
    (r"^joiner\.output_linear\.", "heads.transducer.joiner.output."),
    (r"^simple_am_proj\.", "heads.transducer.loss.encoder_proj."),
    (r"^simple_lm_proj\.", "heads.transducer.loss.predictor_proj."),
]
_CONV = re.compile(r"^(encoder\.subsampling\.convs\.convs\.)(\d+)")
_OF_TOKENS = re.compile(r"^heads\.transducer\.(predictor\.embedding|joiner\.output|loss\.\w+_proj)\.")
_UNUSED = re.compile(r"_giga\.")  # the heads for a second corpus
_EMBEDDING, _TAPS = "heads.transducer.predictor.embedding.weight", "heads.transducer.predictor.conv.weight"
_OUTPUT = "heads.transducer.joiner.output.weight"


def read_icefall(path: Path) -> Foreign:
    """A folder that holds ``exp/pretrained.pt``, or such a file, with its ``bpe.model`` or ``tokens.txt``.

    It decodes as icefall does, with one symbol a frame at most. Raises UserError naming the file or weight that is not
    supported, and what is.
    """
    checkpoint = _checkpoint(path)
    where = str(checkpoint)
    weights = _renamed(_folded(load_weights(checkpoint, where, "model")), where)
    encoder, bins = _encoder(weights, where)
    head = _head(weights, where)
    tokenizer, order = read_tokens(checkpoint, len(weights[_OUTPUT]))
    return Foreign(
        source=checkpoint.name,
        config={
            "features": {"sample_rate": SAMPLE_RATE, "bins": bins},
            "encoder": encoder,
            "heads": {"transducer": head},
            "tokenizer": {"kind": tokenizer.kind, "size": tokenizer.size},
        },
        weights={name: tensor[order] if _OF_TOKENS.match(name) else tensor for name, tensor in weights.items()},
        tokenizer=tokenizer,
    )


def is_icefall(path: Path) -> bool:
    """Whether it looks like one: a ``.pt`` file, or a folder that holds ``pretrained.pt``, itself or in ``exp``."""
    return (path.suffix == ".pt" and path.is_file()) or bool(_checkpoints(path))


def _checkpoints(folder: Path) -> list[Path]:
    return sorted([*folder.glob("exp/pretrained*.pt"), *folder.glob("pretrained*.pt")])


def _checkpoint(path: Path) -> Path:
    if path.is_file():
        return path
    found = _checkpoints(path)
    found = [one for one in found if one.name == "pretrained.pt"] or found
    if len(found) != 1:
        names = ", ".join(str(one.relative_to(path)) for one in found) or "none"
        raise UserError(f"{path}: must hold one exp/pretrained.pt, found {names}; give the file; {SUPPORTED}")
    return found[0]


def _folded(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Plain weights: those of a ``Scaled`` module times exp of their scale."""
    folded = {}
    for name, tensor in weights.items():
        scale = weights.get(f"{name}_scale", weights.get(re.sub(r"^(decoder\.embedding)\.weight$", r"\1.scale", name)))
        if scale is not None and scale is not tensor:
            tensor = tensor.double() * scale.double().exp()
        if not re.search(r"_scale$|^decoder\.embedding\.scale$", name):
            folded[name] = tensor
    return folded


def _renamed(weights: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    ours = {}
    for name, tensor in weights.items():
        if _UNUSED.search(name):
            continue
        for theirs, new in _RENAMED:
            if re.match(theirs, name):
                # Of each three of icefall, a convolution, a balancer and its activation, two are here.
                plain = _CONV.sub(lambda place: f"{place[1]}{int(place[2]) // 3 * 2}", re.sub(theirs, new, name))
                ours[plain] = tensor
                break
        else:
            raise UserError(f"{where}: the weight {name} has no place in such a model; {SUPPORTED}")
    for name in (
        "encoder.subsampling.out.module.weight",
        "encoder.layer0.lstm.weights.weight_ih_l0",
        _EMBEDDING,
        _OUTPUT,
    ):
        if name not in ours:
            raise UserError(f"{where}: holds no weight for {name}; {SUPPORTED}")
    return ours


def _encoder(weights: Mapping[str, Tensor], where: str) -> tuple[dict[str, Any], int]:
    """Its config, and the number of mel bins."""
    convs = [len(weights[f"encoder.subsampling.convs.convs.{i}.weight"]) for i in (0, 2, 4)]
    if convs[1:] != [4 * convs[0], 16 * convs[0]]:
        raise UserError(
            f"{where}: convolutions of {convs} channels are not supported, only of n, 4n and 16n; {SUPPORTED}"
        )
    dim, inner = weights["encoder.subsampling.out.module.weight"].shape
    first = "encoder.layer0."
    config = {
        "kind": "icefall_lstm",
        "dim": dim,
        "layers": len({name.split(".")[1] for name in weights if name.startswith("encoder.layer")}),
        "hidden": len(weights[f"{first}lstm.weights.weight_ih_l0"]) // 4,
        "feed_forward": len(weights[f"{first}feed_forward.0.bias"]),
        "planes": convs[0],
        "padding": PADDING,
    }
    return config, 4 * (inner // convs[2]) + 8  # of the numbers that leave so many bins the one divisible by 4


def _head(weights: dict[str, Tensor], where: str) -> dict[str, Any]:
    """The config of the transducer; its predictor's taps are laid out as they are here."""
    embedding = weights[_EMBEDDING]
    dim = embedding.shape[1]
    if embedding[0].any():
        raise UserError(f"{where}: the blank's embedding must be zero, as padding_idx keeps it; {SUPPORTED}")
    taps = weights.get(_TAPS, torch.ones(dim, 1, 1))  # without one the predictor reads the last symbol alone
    mixed, context = taps.shape[1:]
    if GROUP % mixed or dim % GROUP:
        raise UserError(
            f"{where}: decoder.conv.weight mixes {mixed} of {dim} channels, not 1, 2 or {GROUP}; {SUPPORTED}"
        )
    channel = torch.arange(dim)
    wide = taps.new_zeros(dim, GROUP, context)
    for i in range(mixed):
        wide[channel, channel // mixed * mixed % GROUP + i] = taps[:, i]
    weights[_TAPS] = wide
    pruned = "heads.transducer.loss.encoder_proj.weight" in weights
    if pruned:
        weights["heads.transducer.loss.batches"] = torch.zeros((), dtype=torch.int64)
    return {
        "predictor": {"kind": "stateless", "dim": dim, "context": context, "start": "zero"},
        "joiner_dim": weights[_OUTPUT].shape[1],
        "loss": {"kind": "pruned" if pruned else "full", "rnnt_type": "modified"},
    }
