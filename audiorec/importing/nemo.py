"""NeMo's cache-aware FastConformer, as a ``.nemo`` file holds it: what of its config is supported, in this library's terms."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from audiorec.audio.nemo import NemoMelConfig, window_and_filters
from audiorec.errors import UserError
from audiorec.importing.archive import Archive
from audiorec.importing.foreign import Foreign
from audiorec.importing.labels import characters
from audiorec.importing.sentencepiece import with_blank_first
from audiorec.importing.weights import blank_first, from_nemo
from audiorec.text import Tokenizer

SUPPORTED = "supported: cache-aware streaming FastConformer with CTC, RNN-T or both"
PROMPTED = {
    "EncDecRNNTBPEModelWithPrompt": ("transducer",),
    "EncDecHybridRNNTCTCBPEModelWithPrompt": ("transducer", "ctc"),
}
CLASSES = {
    **PROMPTED,
    **dict.fromkeys(("EncDecCTCModelBPE", "EncDecCTCModel"), ("ctc",)),
    **dict.fromkeys(("EncDecRNNTBPEModel", "EncDecRNNTModel"), ("transducer",)),
    **dict.fromkeys(("EncDecHybridRNNTCTCBPEModel", "EncDecHybridRNNTCTCModel"), ("transducer", "ctc")),
}
_PARTS = {"encoder": "ConformerEncoder", "decoder": "RNNTDecoder", "joint": "RNNTJoint"}
# What the keys must say, where they are there, and why.
_FEATURES = {
    "normalize": ((None, "NA", "None"), "features normalised over an utterance or a window cannot stream"),
    "window_size": ((0.025,), ""),
    "window_stride": ((0.01,), ""),
    "n_window_size": ((None,), "give window_size"),
    "n_window_stride": ((None,), "give window_stride"),
    "window": (("hann",), ""),
    "frame_splicing": ((1,), ""),
    "preemph": ((0.97,), ""),
    "lowfreq": ((0,), ""),
    "highfreq": ((None, 0, 8000), ""),
    "log": ((True,), ""),
    "log_zero_guard_type": (("add",), ""),
    "log_zero_guard_value": ((2**-24,), ""),
    "mag_power": ((2.0,), ""),
    "mel_norm": (("slaney",), ""),
    "exact_pad": ((False,), ""),
    "pad_value": ((0,), ""),
}
_ENCODER = {
    "att_context_style": (("chunked_limited",), "full attention sees the whole utterance and cannot stream"),
    "conv_norm_type": (("layer_norm",), "statistics over a batch are an offline model's"),
    "causal_downsampling": ((True,), "its convolutions look ahead"),
    "self_attention_model": (("rel_pos",), ""),
    "subsampling": (("dw_striding",), ""),
    "reduction": ((None,), ""),
    "feat_out": ((-1, None), ""),
    "untie_biases": ((True,), ""),
    "conv_dual_mode": ((False,), ""),
}
_DEFAULTS = {"att_context_style": "regular", "conv_norm_type": "batch_norm", "causal_downsampling": False}


def read_nemo(path: Path) -> Foreign:
    """A ``.nemo`` file. Raises UserError naming the key or weight that is not supported, and what is."""
    archive = Archive(path)
    try:
        return _foreign(archive, path)
    except (KeyError, TypeError, AttributeError) as error:  # a config of another shape than NeMo writes
        what = f"{type(error).__name__}: {error}"
        raise UserError(
            f"{path}: model_config.yaml: a key is missing or of another type ({what}); {SUPPORTED}"
        ) from None


def _foreign(archive: Archive, path: Path) -> Foreign:
    config = archive.config
    kind = str(config.get("target", "")).rpartition(".")[2]
    if kind not in CLASSES:
        raise UserError(f"{path}: target {kind or 'of no name'} is not read; {SUPPORTED} ({', '.join(CLASSES)})")
    heads = CLASSES[kind]
    if config.get("loss", {}).get("loss_name") == "tdt" or config.get("model_defaults", {}).get("num_tdt_durations"):
        raise UserError(f"{path}: loss.loss_name tdt is not read; {SUPPORTED}")
    where = f"{path}: model_config.yaml"
    for section, part in (_PARTS | ({"decoder": "ConvASRDecoder"} if heads == ("ctc",) else {})).items():
        given = str(config.get(section, {}).get("_target_", part)).rpartition(".")[2]
        if given != part:
            raise UserError(f"{where}: {section}._target_ {given} is not supported, only {part}; {SUPPORTED}")
    features = _features(config.get("preprocessor", {}), archive.weights, where)
    encoder = _encoder(config.get("encoder", {}), where)
    tokenizer, reorder = _tokens(archive, config)
    weights = from_nemo(archive.weights, str(path), reorder)
    if config["encoder"].get("use_bias") is False:
        weights |= zero_biases(weights)
    prompt = _prompt(config.get("model_defaults", {}), weights, where) if kind in PROMPTED else None
    return Foreign(
        source=str(path),
        config={
            "features": features,
            "encoder": encoder,
            "prompt": prompt,
            "heads": {name: _transducer(config) if name == "transducer" else {} for name in heads},
            "tokenizer": {"kind": tokenizer.kind, "size": tokenizer.size},
        },
        weights=weights,
        tokenizer=tokenizer,
    )


def _demand(section: Mapping[str, Any], name: str, wanted: Mapping[str, tuple[tuple, str]], where: str) -> None:
    for key, (values, why) in wanted.items():
        given = section.get(key, _DEFAULTS.get(key, values[0]))
        if given not in values:
            reason = f": {why}" if why else ""
            raise UserError(f"{where}: {name}.{key} {given} is not supported, only {values[0]}{reason}; {SUPPORTED}")


def _features(section: Mapping[str, Any], weights: Mapping[str, Tensor], where: str) -> dict[str, Any]:
    _demand(section, "preprocessor", _FEATURES, where)
    options = {"sample_rate": section.get("sample_rate", 16000), "bins": section.get("features", 64)}
    for rounding in ("float32", "bfloat16"):
        config = NemoMelConfig(**options, rounding=rounding)
        ours = [x.to(getattr(torch, rounding)).float() for x in window_and_filters(config)]
        theirs = [weights.get(f"preprocessor.featurizer.{name}") for name in ("window", "fb")]
        pairs = [(a, b.float().squeeze(0)) for a, b in zip(ours, theirs, strict=True) if b is not None]
        if all(a.shape == b.shape and (a - b).abs().max() <= 1e-6 * a.abs().max() for a, b in pairs):
            return {"kind": "nemo", **options, "rounding": rounding}
    raise UserError(
        f"{where}: the window or the mel filters in the weights are not those of preprocessor's keys; {SUPPORTED}"
    )


def _encoder(section: Mapping[str, Any], where: str) -> dict[str, Any]:
    _demand(section, "encoder", _ENCODER, where)
    kernel = section.get("conv_kernel_size", 31)
    if section.get("conv_context_size") not in ("causal", [kernel - 1, 0]):
        raise UserError(
            f"{where}: encoder.conv_context_size {section.get('conv_context_size')} is not supported, only causal: other "
            f"convolutions look ahead; {SUPPORTED}"
        )
    factor = section.get("subsampling_factor", 4)
    if factor < 2 or factor & (factor - 1):
        raise UserError(f"{where}: encoder.subsampling_factor {factor} is not supported, only powers of 2; {SUPPORTED}")
    return {
        "kind": "fastconformer",
        "dim": section["d_model"],
        "layers": section["n_layers"],
        "heads": section.get("n_heads", 4),
        "expansion": section.get("ff_expansion_factor", 4),
        "dropout": section.get("dropout", 0.1),
        "conv_kernel": kernel,
        "strides": [2] * int(math.log2(factor)),
        "planes": section["d_model"]
        if section.get("subsampling_conv_channels", -1) == -1
        else section["subsampling_conv_channels"],
        "scale_input": section.get("xscaling", True),
        "contexts": contexts(section.get("att_context_size"), f"{where}: encoder.att_context_size"),
    }


def contexts(given: Any, where: str) -> list[dict[str, Any]]:
    """Left and right frames, one pair or several, as contexts: NeMo's mask goes by chunks, so a left context is of whole ones."""
    pairs = [given] if given and isinstance(given[0], int) else list(given or [])
    found = [
        {"left": left // (right + 1) * (right + 1), "chunk": right + 1}
        for left, right in pairs
        if left >= 0 and right >= 0 and left + right > 0
    ]
    if not found:
        raise UserError(f"{where} {given} sees the whole utterance and cannot stream; {SUPPORTED}")
    return found


def _prompt(defaults: Mapping[str, Any], weights: Mapping[str, Tensor], where: str) -> dict[str, Any]:
    languages = defaults.get("prompt_dictionary")
    if not languages:
        raise UserError(f"{where}: model_defaults.prompt_dictionary is missing, so the model's languages have no names")
    return prompt(languages, defaults.get("num_prompts", 128), weights)


def prompt(languages: Mapping[str, int], classes: int, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """The config of a language prompt; the width between its maps is that of the weights, where they are."""
    hidden = weights.get("prompt.net.0.bias")
    return {
        "classes": classes,
        "hidden": None if hidden is None else len(hidden),
        "languages": dict(languages),
        "default": "auto" if "auto" in languages else min(languages, key=lambda name: languages[name]),
    }


def _transducer(config: Mapping[str, Any]) -> dict[str, Any]:
    prednet, jointnet = config["decoder"]["prednet"], config["joint"]["jointnet"]
    return {
        "predictor": {
            "kind": "lstm",
            "dim": prednet["pred_hidden"],
            "layers": prednet.get("pred_rnn_layers", 1),
            "dropout": prednet.get("dropout") or 0.0,
            "start": "zero",
        },
        "joiner_dim": jointnet["joint_hidden"],
        "joiner_activation": jointnet.get("activation", "relu"),
        "loss": "full",
    }


def _tokens(archive: Archive, config: Mapping[str, Any]) -> tuple[Tokenizer, Callable[[Tensor], Tensor]]:
    """The tokenizer, and what puts an axis of NeMo's tokens and blank in its order."""
    section = config.get("tokenizer")
    if section is None:
        labels = config.get("labels") or config.get("joint", {}).get("vocabulary")
        if not labels:
            raise UserError(
                f"{archive.path}: model_config.yaml: neither a tokenizer nor labels, so tokens have no text"
            )
        return characters(list(labels), f"{archive.path}: model_config.yaml: labels")
    if section.get("type") != "bpe":  # NeMo's word for sentencepiece of any kind
        raise UserError(
            f"{archive.path}: model_config.yaml: tokenizer.type {section.get('type')} is not supported, only bpe "
            "(sentencepiece)"
        )
    content = archive.file(section.get("model_path"), "the tokenizer's file tokenizer.model_path")
    return with_blank_first(content, f"{archive.path}: {section['model_path']}"), blank_first


def zero_biases(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Biases at zero where the layers have none."""
    zeros: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        bias = name.removesuffix("weight") + "bias"
        if (
            name.startswith("encoder.layer")
            and name.endswith("weight")
            and bias not in weights
            and ".relative." not in name
        ):
            zeros[bias] = torch.zeros(tensor.shape[0])
    return zeros
