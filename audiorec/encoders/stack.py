"""``Stack``: strided convolutions, layers, a final norm. Every encoder is one; a pattern mixes layers of several kinds."""

import math
from collections.abc import Collection, Mapping
from typing import Any, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from audiorec.config import Config, Registry
from audiorec.encoders.attention import AttentionOptions, without_bias
from audiorec.encoders.dropout import Dropout
from audiorec.encoders.registry import ENCODERS
from audiorec.encoders.subsampling import SubsampledConfig, Subsamples
from audiorec.streaming import Linear, Pointwise, Sequential, State, StreamingModule, mask, mask_finite

# Kinds of layers: each is built from its config, the width, and the strides' product, and gives as many channels.
LAYERS = Registry("encoder.pattern")


class PreNorm(StreamingModule):
    """A layer around a mixer: ``x + dropout(out(mixer(norm(x))))``, (B, T, dim) → (B, T, dim).

    The mixer is a module of stride 1 without look-ahead, whose state is the layer's; ``out`` maps its channels to dim,
    where it has another number or ``project`` asks for it.
    """

    def __init__(self, mixer: StreamingModule, dropout: float = 0.0, project: bool = False):
        dim = mixer.input_dim
        super().__init__(dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.mixer = mixer
        self.out = Linear(mixer.output_dim, dim) if project or mixer.output_dim != dim else None
        self.dropout = Dropout(dropout)

    def initial_state(self, batch_size: int, ragged: bool = False) -> State:
        return self.mixer.initial_state(batch_size, ragged)

    def advance(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, Tensor | None, State]:
        x = mask(x, lengths)
        y, _, state = self.mixer.advance(self.norm(x), lengths, state)
        return self._add(x, y, lengths), lengths, state

    def offline(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        x = mask(x, lengths)
        y, _ = self.mixer.offline(self.norm(x), lengths)
        return self._add(x, y, lengths), lengths

    def _add(self, x: Tensor, y: Tensor, lengths: Tensor | None) -> Tensor:
        y = y if self.out is None else self.out(y)
        return mask_finite(x + self.dropout(y), lengths)


class Stack(Sequential):
    """``subsampling``, the layers by their names, and ``norm``, unless the layers end in one: (B, T, input_dim) →
    (B, ceil(T / stride), dim).

    With ``recompute`` training keeps what goes into a layer alone, and computes the rest again for the gradient (Chen et al.
    2016): memory for time, the same numbers. ``skip`` leaves layers out, for as long as it is not called again.
    """

    recompute = False
    skipped: frozenset[str] = frozenset()

    def __init__(self, config: Subsamples, input_dim: int, layers: Mapping[str, StreamingModule], norm: bool = True):
        dim = next(iter(layers.values())).input_dim
        last = {"norm": Pointwise(nn.LayerNorm(dim), dim)} if norm else {}
        super().__init__(subsampling=config.subsampling(input_dim, dim), **layers, **last)

    def through(self, member: StreamingModule, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """``member.offline``, computed again in the backward pass where ``recompute`` asks for it."""
        if self.recompute and self.training and torch.is_grad_enabled():
            return checkpoint(super().through, member, x, lengths, use_reentrant=False)
        return super().through(member, x, lengths)

    def skip(self, layers: Collection[str]) -> None:
        """Leave out these layers, whose inputs and outputs are of one kind, and no others: they cost nothing, have no gradient
        and no state. Who taps one of them gets what it would have read."""
        self.skipped = frozenset(layers)
        self.changed()

    @property
    def members(self) -> list[tuple[str, StreamingModule]]:
        return [(name, member) for name, member in super().members if name not in self.skipped]

    @property
    def layer_names(self) -> list[str]:
        """The members between the convolutions and the norm: those whose output may be tapped."""
        return [name for name in self.names if name not in ("subsampling", "norm")]

    def exit(self, layer: str) -> "Stack":
        """The stack that ends at this layer: a light view that shares the weights of what it has.

        Its end has the norm of the whole one's, as intermediate CTC has (Lee and Watanabe 2021): pre-norm layers leave their
        sum unnormalised. So an exit is what a shallower stack of the same names is, and needs no weights of its own; a head
        of its own follows, which can undo the norm's scales.
        """
        kept = self.names[: self.names.index(layer) + 1]
        return self.only([*kept, "norm"] if "norm" in self.names else kept)

    def tapped(
        self, x: Tensor, lengths: Tensor | None, layers: Collection[str]
    ) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Layer → what ``exit(layer)`` gives of whole utterances, all in one pass that ends at the last of them."""
        outputs: dict[str, tuple[Tensor, Tensor | None]] = {}
        norm = self._modules.get("norm")
        taking_part = dict(self.members)
        for name in self.names:
            if name in taking_part:
                x, lengths = self.through(taking_part[name], x, lengths)
            if name in layers:
                outputs[name] = norm.offline(x, lengths) if norm else (x, lengths)
            if len(outputs) == len(layers):
                break
        return outputs


class StackConfig(SubsampledConfig):
    kind: Literal["stack"] = "stack"
    dim: PositiveInt = Field(256, description="width of every layer")
    pattern: list[LAYERS.field] = Field(min_length=1, description="kinds of layers, or mappings with a kind, in order")
    repeats: PositiveInt = Field(1, description="times that the pattern stands one after another")


@ENCODERS.register
class StackEncoder(Stack):
    """Layers of several kinds: ``{kind: stack, pattern: [mamba, mamba, transformer], repeats: 3}``.

    Look-ahead: that of the strided convolutions, and of each layer that looks ahead.
    """

    Config = StackConfig

    def __init__(self, config: StackConfig, input_dim: int):
        pattern = [layer for _ in range(config.repeats) for layer in config.pattern]
        super().__init__(config, input_dim, build_layers(pattern, config.dim, math.prod(config.strides)))
        if any(isinstance(layer, AttentionOptions) for layer in pattern):
            without_bias(self.subsampling)


def build_layers(configs: list[Config | dict[str, Any] | str], dim: int, stride: int) -> dict[str, StreamingModule]:
    """``layer0``, ``layer1``, … of these configs."""
    return {f"layer{i}": LAYERS.build(config, dim, stride) for i, config in enumerate(configs)}
