"""NeMo's names of weights → this library's, and its order of tokens, blank last, → ours, blank first."""

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from audiorec.errors import UserError

_LAYER = r"^encoder\.layers\.(\d+)\."
_MLP = [(rf"{_LAYER}norm_feed_forward{i}\.", rf"encoder.layer\1.feed_forward{i}.net.0.") for i in (1, 2)]
_MLP += [
    (rf"{_LAYER}feed_forward{i}\.linear{theirs}\.", rf"encoder.layer\1.feed_forward{i}.net.{ours}.")
    for i in (1, 2)
    for theirs, ours in ((1, 1), (2, 4))
]
_RENAMED = [
    (r"^encoder\.pre_encode\.conv\.0\.", r"encoder.subsampling.conv0.conv."),
    (r"^encoder\.pre_encode\.out\.", r"encoder.subsampling.out.module."),
    *_MLP,
    (_LAYER + r"norm_self_att\.", r"encoder.layer\1.attention.norm."),
    (_LAYER + r"self_attn\.linear_q\.", r"encoder.layer\1.attention.query."),
    (_LAYER + r"self_attn\.linear_out\.", r"encoder.layer\1.attention.out.0."),
    (_LAYER + r"self_attn\.linear_pos\.", r"encoder.layer\1.attention.relative.projection."),
    (_LAYER + r"self_attn\.pos_bias_([uv])$", r"encoder.layer\1.attention.relative.bias_\2"),
    (_LAYER + r"norm_conv\.", r"encoder.layer\1.conv.gated.0."),
    (_LAYER + r"conv\.pointwise_conv1\.", r"encoder.layer\1.conv.gated.1."),
    (_LAYER + r"conv\.depthwise_conv\.", r"encoder.layer\1.conv.depthwise."),
    (_LAYER + r"conv\.batch_norm\.", r"encoder.layer\1.conv.out.0."),  # a LayerNorm, whatever its name
    (_LAYER + r"conv\.pointwise_conv2\.", r"encoder.layer\1.conv.out.2."),
    (_LAYER + r"norm_out\.", r"encoder.layer\1.norm."),
    (r"^(?:ctc_)?decoder\.decoder_layers\.0\.", r"heads.ctc.linear."),
    (r"^decoder\.prediction\.embed\.", r"heads.transducer.predictor.embedding."),
    (
        r"^decoder\.prediction\.dec_rnn\.lstm\.((?:weight|bias)_[ih]h)_l(\d+)$",
        r"heads.transducer.predictor.layers.layer\2.\1",
    ),
    (r"^prompt_kernel\.([02])\.", r"prompt.net.\1."),
    (r"^joint\.enc\.", r"heads.transducer.joiner.encoder_proj."),
    (r"^joint\.pred\.", r"heads.transducer.joiner.predictor_proj."),
    (r"^joint\.joint_net\.\d+\.", r"heads.transducer.joiner.output."),
]
_PRE_ENCODE = re.compile(r"^encoder\.pre_encode\.conv\.(\d+)\.(\w+)$")
_KEY_VALUE = re.compile(_LAYER + r"self_attn\.linear_([kv])\.(\w+)$")
# What has a first axis of tokens, blank last.
_OF_TOKENS = "heads.ctc.linear.", "heads.transducer.joiner.output.", "heads.transducer.predictor.embedding."
# Convolutions of one tap that are products here.
_POINTWISE = re.compile(r"^heads\.ctc\.linear\.weight$|\.conv\.(gated\.1|out\.2)\.weight$")
# What a checkpoint may hold that no inference reads, or that is computed here.
_UNUSED = re.compile(r"^(preprocessor|spec_augmentation|loss|wer|ctc_wer|ctc_loss|encoder\.pos_enc)\b")


def from_nemo(weights: Mapping[str, Tensor], source: str, reorder: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """The weights under this library's names. ``reorder`` puts the first axis, of tokens and blank, in our order.

    Raises UserError for a weight that has no place.
    """
    ours: dict[str, Tensor] = {}
    keys_and_values: dict[str, dict[str, Tensor]] = {}
    for name, tensor in weights.items():
        if _UNUSED.match(name):
            continue
        if match := _KEY_VALUE.match(name):
            layer, which, last = match.groups()
            keys_and_values.setdefault(f"encoder.layer{layer}.attention.key_value.{last}", {})[which] = tensor
            continue
        new = _todays(name)
        if new is None:
            raise UserError(
                f"{source}: the weight {name} has no place in a cache-aware FastConformer; this is another model"
            )
        if _POINTWISE.search(new):
            tensor = tensor.squeeze(-1)
        ours[new] = reorder(tensor) if new.startswith(_OF_TOKENS) else tensor
    for new, pair in keys_and_values.items():
        if pair.keys() != {"k", "v"}:
            raise UserError(f"{source}: of {new} the keys' or the values' part is missing: the file is not whole")
        ours[new] = torch.cat([pair["k"], pair["v"]])
    return ours


def _todays(name: str) -> str | None:
    # After the first convolution each stage is a depthwise one, a pointwise one, and an activation.
    if (match := _PRE_ENCODE.match(name)) and (place := int(match[1])) > 0:
        stage, part = divmod(place - 2, 3)
        return f"encoder.subsampling.conv{stage + 1}.conv.{part}.{match[2]}" if place >= 2 and part < 2 else None
    for theirs, new in _RENAMED:
        if re.match(theirs, name):
            return re.sub(theirs, new, name)
    return None


def blank_first(tensor: Tensor) -> Tensor:
    """(tokens…, blank) → (blank, tokens…)."""
    return tensor.roll(1, 0)
