"""Folders that the transformers package writes: ``nemotron_asr_streaming``, NeMo's model under other names."""

import json
import math
import re
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from audiorec.errors import UserError
from audiorec.importing.foreign import Foreign
from audiorec.importing.nemo import SUPPORTED, contexts, prompt, zero_biases
from audiorec.importing.sentencepiece import made_of, with_blank_first
from audiorec.importing.weights import from_nemo
from audiorec.text.subword import SubwordTokenizer

PROMPTED = "nemotron3_5_asr"
MODELS = ("nemotron_asr_streaming", PROMPTED)
# What the classes take where a key is missing.
_ENCODER = {
    **{"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 8, "intermediate_size": 4096},
    **{"conv_kernel_size": 9, "subsampling_factor": 8, "subsampling_conv_channels": 256, "num_mel_bins": 80},
    **{"scale_input": True, "sliding_window": 71, "default_num_lookahead_tokens": 13, "dropout": 0.1},
    **{"hidden_act": "silu", "subsampling_conv_kernel_size": 3, "subsampling_conv_stride": 2},
    **{"attention_bias": True, "convolution_bias": True},
}
_TRANSDUCER = {"vocab_size": 1025, "decoder_hidden_size": 640, "num_decoder_layers": 2, "blank_token_id": 1024}
_PROMPTED = {**_TRANSDUCER, "vocab_size": 13088, "blank_token_id": 13087, "num_prompts": 128}
_FIXED = {"hidden_act": "silu", "subsampling_conv_kernel_size": 3, "subsampling_conv_stride": 2}
_FEATURES = {"sampling_rate": 16000, "hop_length": 160, "n_fft": 512, "win_length": 400, "preemphasis": 0.97}
_NEMO = [
    (r"^encoder\.subsampling\.conv_in\.", "encoder.pre_encode.conv.0."),
    (r"^encoder\.subsampling\.linear\.", "encoder.pre_encode.out."),
    (r"\.self_attn\.([qkv])_proj\.", r".self_attn.linear_\1."),
    (r"\.self_attn\.o_proj\.", ".self_attn.linear_out."),
    (r"\.self_attn\.relative_k_proj\.", ".self_attn.linear_pos."),
    (r"\.self_attn\.bias_([uv])$", r".self_attn.pos_bias_\1"),
    (r"\.conv\.norm\.", ".conv.batch_norm."),
    (r"^encoder_projector\.", "joint.enc."),
    (r"^decoder\.decoder_projector\.", "joint.pred."),
    (r"^decoder\.embedding\.", "decoder.prediction.embed."),
    (r"^decoder\.lstm\.", "decoder.prediction.dec_rnn.lstm."),
    (r"^joint\.head\.", "joint.joint_net.2."),
    (r"^prompt_projector\.linear_1\.", "prompt_kernel.0."),
    (r"^prompt_projector\.linear_2\.", "prompt_kernel.2."),
]
_STAGE = re.compile(r"^encoder\.subsampling\.layers\.(\d+)\.(depthwise|pointwise)_conv\.(\w+)$")


def read_transformers(folder: Path) -> Foreign:
    """A folder of ``save_pretrained``. Raises UserError naming the key, file or weight that is not supported, and what is."""
    config = _json(folder / "config.json")
    if config.get("model_type") not in MODELS:
        raise UserError(
            f"{folder / 'config.json'}: model_type {config.get('model_type')} is not read, only {', '.join(MODELS)}; {SUPPORTED}"
        )
    prompted = config["model_type"] == PROMPTED
    head = (_PROMPTED if prompted else _TRANSDUCER) | config
    encoder = _ENCODER | (config.get("encoder_config") or {})
    for key, value in _FIXED.items():
        if encoder[key] != value:
            raise UserError(
                f"{folder / 'config.json'}: encoder_config.{key} {encoder[key]} is not supported, only {value}"
            )
    tokenizer = _tokenizer(folder, head)
    blank = head["blank_token_id"]

    def blank_first(tensor: Tensor) -> Tensor:
        return tensor[[blank, *(i for i in range(len(tensor)) if i != blank)]]

    weights = from_nemo(_weights(folder), str(folder), blank_first)
    if not (encoder["attention_bias"] and encoder["convolution_bias"]):
        weights |= zero_biases(weights)
    return Foreign(
        source=str(folder),
        config={
            "features": _features(folder, encoder["num_mel_bins"]),
            "encoder": _encoder(folder, encoder),
            "prompt": prompt(_languages(folder), head["num_prompts"], weights) if prompted else None,
            "heads": {
                "transducer": {
                    "predictor": {
                        **{"kind": "lstm", "dim": head["decoder_hidden_size"], "layers": head["num_decoder_layers"]},
                        "start": "zero",
                    },
                    "joiner_dim": head["decoder_hidden_size"],
                    "joiner_activation": head.get("hidden_act", "relu"),
                    "loss": "full",
                }
            },
            "tokenizer": {"kind": tokenizer.kind, "size": tokenizer.size},
        },
        weights=weights,
        tokenizer=tokenizer,
    )


def _encoder(folder: Path, encoder: dict[str, Any]) -> dict[str, Any]:
    processor = _json(folder / "processor_config.json", {})
    first = processor.get("default_num_lookahead_tokens") or encoder["default_num_lookahead_tokens"]
    others = processor.get("supported_num_lookahead_tokens") or [13, 6, 1, 0]
    left = encoder["sliding_window"] - 1
    pairs = [[left, right] for right in dict.fromkeys([first, *others])]
    return {
        "kind": "fastconformer",
        "dim": encoder["hidden_size"],
        "layers": encoder["num_hidden_layers"],
        "heads": encoder["num_attention_heads"],
        "expansion": encoder["intermediate_size"] // encoder["hidden_size"],
        "dropout": encoder["dropout"],
        "conv_kernel": encoder["conv_kernel_size"],
        "strides": [2] * int(math.log2(encoder["subsampling_factor"])),
        "planes": encoder["subsampling_conv_channels"],
        "scale_input": encoder["scale_input"],
        "contexts": contexts(pairs, f"{folder / 'config.json'}: encoder_config.sliding_window"),
    }


def _languages(folder: Path) -> dict[str, int]:
    path = folder / "processor_config.json"
    languages = _json(path, {}).get("prompt_dictionary")
    if not languages:
        raise UserError(f"{path}: prompt_dictionary is missing, so the model's languages have no names")
    return languages


def _features(folder: Path, bins: int) -> dict[str, Any]:
    """From what the processor says of the features, in either of the files that versions of the package write."""
    settings = _json(folder / "processor_config.json", {}).get("feature_extractor")
    settings = settings or _json(folder / "preprocessor_config.json", {})
    for key, value in _FEATURES.items():
        if settings.get(key, value) != value:
            raise UserError(
                f"{folder}: the feature extractor's {key} {settings[key]} is not supported, only {value}; {SUPPORTED}"
            )
    return {"kind": "nemo", "bins": bins, "rounding": settings.get("mel_filters_dtype", "float32")}


def _weights(folder: Path) -> dict[str, Tensor]:
    """All weights, of one file or of several that an index lists, under NeMo's names."""
    index = folder / "model.safetensors.index.json"
    files = sorted(set(_json(index)["weight_map"].values())) if index.is_file() else ["model.safetensors"]
    weights: dict[str, Tensor] = {}
    for name in files:
        path = folder / Path(name).name  # an index names no file of another folder
        if not path.is_file():
            raise UserError(f"{path}: missing; weights are read from safetensors alone")
        try:
            weights |= load_file(path)
        except SafetensorError as error:
            raise UserError(f"{path}: damaged or cut short ({error}); fetch it again") from None
    return {_nemos(name): tensor for name, tensor in weights.items()}


def _nemos(name: str) -> str:
    if match := _STAGE.match(name):
        place = 2 + 3 * int(match[1]) + (match[2] == "pointwise")
        return f"encoder.pre_encode.conv.{place}.{match[3]}"
    for theirs, nemos in _NEMO:
        name = re.sub(theirs, nemos, name)
    return name


def _tokenizer(folder: Path, head: dict[str, Any]) -> SubwordTokenizer:
    """From ``tokenizer.model``, or from the pieces in ``tokenizer.json``: of each id but the blank's."""
    if (path := folder / "tokenizer.model").is_file():
        tokenizer = with_blank_first(path.read_bytes(), str(path))
    elif (path := folder / "tokenizer.json").is_file():
        model = _json(path).get("model", {})
        tokenizer = made_of(*_pieces(model, head, path), str(path))
    else:
        raise UserError(f"{folder}: neither tokenizer.json nor tokenizer.model, so tokens have no text")
    if tokenizer.size != head["vocab_size"]:
        raise UserError(
            f"{path}: {tokenizer.size - 1} pieces, but config.json's vocab_size is {head['vocab_size']}, blank included"
        )
    return tokenizer


def _pieces(model: dict[str, Any], head: dict[str, Any], path: Path) -> tuple[list[tuple[str, float]], bool]:
    """(text, score) by id, and whether they are a unigram model's; a merge of BPE is preferred the earlier it stands."""
    count = head["vocab_size"]
    blank = head["blank_token_id"]
    if model.get("type") == "Unigram":
        pieces = [(text, float(score)) for text, score in model["vocab"]]
    elif model.get("type") == "BPE":
        merges = ["".join(m.split(" ") if isinstance(m, str) else m) for m in model["merges"]]
        ranks = {text: -float(rank) for rank, text in reversed(list(enumerate(merges)))}
        by_id = sorted(model["vocab"].items(), key=lambda item: item[1])
        pieces = [(text, ranks.get(text, -float(len(merges)))) for text, _ in by_id]
    else:
        raise UserError(f"{path}: model.type {model.get('type')} is not supported, only BPE and Unigram")
    pieces = [piece for i, piece in enumerate(pieces[:count]) if i != blank]
    if not pieces or pieces[0][0] != "<unk>":
        raise UserError(f"{path}: the piece of id 0 must be <unk>")
    return pieces, model["type"] == "Unigram"


def _json(path: Path, missing: Any = None) -> Any:
    if not path.is_file() and missing is not None:
        return missing
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: missing") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: no sound JSON ({error})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: must hold a mapping of keys")
    return content
