"""icefall's LSTM transducer written down again in plain torch, for one utterance: what imports are held to.

icefall is not a dependency. This follows its source (k2-fsa/icefall at commit 50b376d, ``lstm_transducer_stateless3/lstm.py``,
and ``scaling.py``, ``decoder.py`` and ``joiner.py`` of ``pruned_transducer_stateless2``), which was read, not run:
evaluation alone, frame by frame, without any module of the library. Nothing here was recorded from icefall.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = Mapping[str, Tensor]
EMBED = "encoder.encoder_embed"


def checkpoint(
    bins: int = 20,
    dim: int = 8,
    hidden: int = 12,
    inner: int = 10,
    layers: int = 2,
    vocabulary: int = 12,
    joiner: int = 8,
) -> dict[str, Tensor]:
    """A state dict of random weights under icefall's names, float64."""
    generator, weights = torch.Generator().manual_seed(4), {}

    def draw(name: str, *shape: int, scale: str = "_scale") -> None:
        fan = torch.Size(shape[1:]).numel()
        weights[name] = torch.randn(*shape, generator=generator, dtype=torch.float64) / max(fan, 1) ** 0.5
        weights[name + scale] = 0.3 * torch.randn((), generator=generator, dtype=torch.float64)

    def linear(name: str, out: int, *rest: int) -> None:
        draw(f"{name}.weight", out, *rest)
        draw(f"{name}.bias", out)

    left = ((bins - 3) // 2 - 1) // 2
    for i, (planes, before) in zip((0, 3, 6), ((8, 1), (32, 8), (128, 32)), strict=True):
        linear(f"{EMBED}.conv.{i}", planes, before, 3, 3)
    linear(f"{EMBED}.out", dim, 128 * left)
    weights[f"{EMBED}.out_norm.eps"] = torch.tensor(0.25, dtype=torch.float64).log()
    for i in range(layers):
        layer = f"encoder.encoder.layers.{i}"
        for name, shape in {
            "weight_ih_l0": (4 * hidden, dim),
            "weight_hh_l0": (4 * hidden, dim),
            "bias_ih_l0": (4 * hidden,),
            "bias_hh_l0": (4 * hidden,),
            **({"weight_hr_l0": (dim, hidden)} if hidden > dim else {}),
        }.items():
            draw(f"{layer}.lstm.{name}", *shape)
        linear(f"{layer}.feed_forward.0", inner, dim)
        linear(f"{layer}.feed_forward.4", dim, inner)
        weights[f"{layer}.norm_final.eps"] = torch.tensor(-1.5 + i, dtype=torch.float64)
    draw("decoder.embedding.weight", vocabulary, dim)
    weights["decoder.embedding.scale"] = weights.pop("decoder.embedding.weight_scale")
    weights["decoder.embedding.weight"][0] = 0  # the blank's, which is padding
    draw("decoder.conv.weight", dim, 1, 2)
    linear("joiner.encoder_proj", joiner, dim)
    linear("joiner.decoder_proj", joiner, dim)
    linear("joiner.output_linear", vocabulary, joiner)
    linear("simple_am_proj", vocabulary, dim)
    linear("simple_lm_proj", vocabulary, dim)
    return weights


def scaled(weights: Weights, name: str) -> Tensor:
    return weights[name] * weights[name + "_scale"].exp()


def linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    return x @ scaled(weights, f"{name}.weight").T + scaled(weights, f"{name}.bias")


def double_swish(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x - 1)


def basic_norm(x: Tensor, eps: Tensor) -> Tensor:
    return x * (x.pow(2).mean(-1, keepdim=True) + eps.exp()) ** -0.5


def encoder(weights: Weights, features: Tensor) -> Tensor:
    """features (T, bins) → ((((T − 3) >> 1) − 1) >> 1, dim)."""
    x = features[None, None]
    for i, stride in ((0, 1), (3, 2), (6, 2)):
        name = f"{EMBED}.conv.{i}"
        x = F.conv2d(x, scaled(weights, f"{name}.weight"), scaled(weights, f"{name}.bias"), stride=stride)
        x = double_swish(x)
    x = linear(weights, f"{EMBED}.out", x[0].transpose(0, 1).flatten(1))
    x = basic_norm(x, weights[f"{EMBED}.out_norm.eps"])
    layer = 0
    while f"encoder.encoder.layers.{layer}.norm_final.eps" in weights:
        name = f"encoder.encoder.layers.{layer}"
        x = x + lstm(weights, f"{name}.lstm", x)
        x = x + linear(weights, f"{name}.feed_forward.4", double_swish(linear(weights, f"{name}.feed_forward.0", x)))
        x = basic_norm(x, weights[f"{name}.norm_final.eps"])
        layer += 1
    return x


def lstm(weights: Weights, name: str, x: Tensor) -> Tensor:
    w_ih, w_hh = scaled(weights, f"{name}.weight_ih_l0"), scaled(weights, f"{name}.weight_hh_l0")
    bias = scaled(weights, f"{name}.bias_ih_l0") + scaled(weights, f"{name}.bias_hh_l0")
    projection = scaled(weights, f"{name}.weight_hr_l0")
    h, c, outputs = x.new_zeros(x.shape[1]), x.new_zeros(len(bias) // 4), []
    for frame in x:
        i, f, g, o = (w_ih @ frame + w_hh @ h + bias).chunk(4)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = projection @ (torch.sigmoid(o) * torch.tanh(c))
        outputs.append(h)
    return torch.stack(outputs)


def decoder(weights: Weights, ids: list[int]) -> Tensor:
    """What the last two symbols give, zeros before the first."""
    table = weights["decoder.embedding.weight"] * weights["decoder.embedding.scale"].exp()
    before, last = (table[i] for i in [0, 0, *ids][-2:])
    taps = scaled(weights, "decoder.conv.weight")[:, 0]
    return (taps[:, 0] * before + taps[:, 1] * last).relu()


def greedy(weights: Weights, frames: Tensor) -> list[int]:
    """At most one symbol a frame."""
    ids: list[int] = []
    for frame in frames:
        seen = linear(weights, "joiner.encoder_proj", frame)
        hidden = torch.tanh(seen + linear(weights, "joiner.decoder_proj", decoder(weights, ids)))
        symbol = int(linear(weights, "joiner.output_linear", hidden).argmax())
        ids += [symbol] if symbol else []
    return ids
