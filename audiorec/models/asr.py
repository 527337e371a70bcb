"""``AsrModel``: features, encoder and heads, from samples to the frames that heads and searches read."""

from collections.abc import Callable, Sequence
from weakref import WeakSet

from torch import Tensor, nn

from audiorec.audio.features import FEATURES
from audiorec.audio.resample import Resampler
from audiorec.config import Config
from audiorec.encoders import ManyLatencies, build
from audiorec.encoders.prompt import LanguagePrompt
from audiorec.encoders.stack import Stack
from audiorec.errors import ConfigError, UserError
from audiorec.models.config import ModelConfig
from audiorec.models.heads import HEADS, CtcHead
from audiorec.search import GREEDY, Automaton, BlankSkip, Fusion, Search, SearchConfig, Words
from audiorec.streaming import Sequential, StreamingModule, share

LIVE_RATES = 8000, 16000, 44100, 48000  # Hz: of telephones and microphones
_VIEWS: WeakSet[nn.Module] = WeakSet()
Augment = Callable[[Tensor, Tensor | None], Tensor]


class AsrModel(Sequential):
    """A chain from samples (B, T, 1), float32 in [−1, 1] at ``sample_rate``, to encoder frames (B, T', dim).

    It is a StreamingModule like any other: ``model(samples, lengths)`` for whole utterances, ``model.step`` for pieces.
    ``heads`` read its output; each has ``losses`` and a ``search``. A head whose config says ``at: layer3`` reads the end of
    that layer instead: ``taps`` holds each head's layer, None for the encoder's end. ``frames`` gives each head its own in
    training; ``exit`` is the model as far as one head reads it, which streams, decodes and costs no more. Where its config has
    a ``prompt``, a third member tells the encoder's frames the language.
    """

    prompt: LanguagePrompt | None  # what tells the language, where the model is told it

    def __init__(self, config: ModelConfig, vocabulary: int):
        features = FEATURES.build(config.features)
        encoder = build(config.encoder, features.output_dim)
        prompt = {} if config.prompt is None else {"prompt": LanguagePrompt(config.prompt, encoder.output_dim)}
        super().__init__(features=features, encoder=encoder, **prompt)
        if not prompt:
            self.prompt = None
        heads = {name: HEADS.build(head, encoder.output_dim, vocabulary) for name, head in config.heads.items()}
        self.heads = nn.ModuleDict(heads)
        self.taps = {
            name: _layer(encoder, config, name, getattr(head, "at", None)) for name, head in config.heads.items()
        }
        self.sample_rate = features.sample_rate

    @property
    def frame_seconds(self) -> float:
        """Seconds of audio that one output frame covers."""
        return self.stride / self.sample_rate

    @property
    def latency_ms(self) -> float:
        """Milliseconds from the start of an output frame until it can be computed: features and subsampling included.

        Of audio at the model's rate; at others ``resampling_ms`` comes on top. Infinite for a model that sees whole utterances.
        """
        return 1000 * (self.lookahead + 1) / self.sample_rate

    @property
    def resampling_ms(self) -> float:
        """Milliseconds of audio that resampling to the model's rate holds back, the most of any of ``LIVE_RATES``."""
        return 1000 * max(Resampler(rate, self.sample_rate).latency_seconds for rate in LIVE_RATES)

    @property
    def body(self) -> StreamingModule:
        """What lies between the features and the heads."""
        return self.encoder if self.prompt is None else Sequential(encoder=self.encoder, prompt=self.prompt)

    @property
    def languages(self) -> list[str]:
        """The languages to choose from; empty where there is no choice."""
        return [] if self.prompt is None else sorted(self.prompt.languages)

    @property
    def language(self) -> str | None:
        """The one among ``languages`` that this model, or view of it, is in."""
        return self.prompt and self.prompt.language

    @property
    def contexts(self) -> dict[float, Config]:
        """Look-ahead in ms, ascending → context of the encoder; empty where the encoder offers no choice."""
        if not isinstance(self.encoder, ManyLatencies):
            return {}
        return dict(sorted(self.encoder.latencies(1000 * self.frame_seconds).items()))

    @property
    def latencies(self) -> list[float]:
        """The look-aheads of the encoder to choose from, in ms, ascending; empty where there is no choice."""
        return list(self.contexts)

    @property
    def look_ahead_ms(self) -> float | None:
        """The look-ahead among ``latencies`` that this model, or view of it, is at."""
        return next((ms for ms, context in self.contexts.items() if context == self.encoder.context), None)

    def view(self) -> "AsrModel":
        """A light copy that has the very same parameters and buffers, but its own mode (``eval``, ``train``) and encoder.

        It can be neither moved nor cast, which would leave the two with some tensors in common and others not.
        """
        view = share(self)
        _VIEWS.add(view)
        return view

    def _apply(self, fn: Callable, recurse: bool = True) -> "AsrModel":  # .to(), .cuda(), .half(), … all come here
        if self in _VIEWS:
            raise UserError(
                "model: this is a view, which shares its weights, and cannot be moved or cast; move or cast the model that "
                "it was made of before the view is made, or copy.deepcopy this one"
            )
        return super()._apply(fn, recurse)

    def at_latency(self, ms: float) -> "AsrModel":
        """A light view whose attention looks ``ms`` ahead: it shares every weight, and this model stays as it is.

        Raises UserError where the encoder has no choice of latencies, or not this one.
        """
        if not isinstance(self.encoder, ManyLatencies):
            raise UserError(f"latency {ms:g} ms: this model's encoder has one latency only")
        view = self.view()
        view.encoder = self.encoder.at_latency(ms, 1000 * self.frame_seconds)
        return view

    def in_language(self, language: str) -> "AsrModel":
        """A light view that is told this language: it shares every weight, and this model stays as it is.

        Raises UserError where the model is told no language, or does not have this one.
        """
        if self.prompt is None:
            raise UserError(f"language {language!r}: this model is not told its language; leave it out")
        prompt, view = self.prompt.in_language(language), self.view()
        view.prompt = prompt
        return view

    def exit(self, head: str | None = None) -> "AsrModel":
        """The model as far as this head (the first one unless named) reads it: a light view that shares the weights, has no
        later layers, and no heads that read elsewhere. It is this model itself where all heads read its end.

        Raises UserError for a head that this model, or this exit of one, does not have.
        """
        name = head or next(iter(self.heads))
        if name not in self.taps:
            raise UserError(f"head {name!r}: this model, or this exit of one, has {', '.join(self.taps)}")
        if not any(self.taps.values()):
            return self
        layer, view = self.taps[name], self.view()
        if layer:
            view.encoder = self.encoder.exit(layer)
        view.taps = {name: None for name, other in self.taps.items() if other == layer}
        for other in self.taps.keys() - view.taps.keys():
            del view.heads[other]
        view.changed()
        return view

    def forward(
        self,
        samples: Tensor,
        lengths: Tensor | None = None,
        augment: Augment | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """samples (B, T) or (B, T, 1), lengths (B,), None where all are of T samples → encoder frames (B, ceil(T / stride),
        dim) and their lengths, or None.

        ``augment`` takes the features (B, T', bins) and their lengths, and returns what the encoder gets in their place.
        """
        if augment is None:
            return super().forward(samples[..., None] if samples.ndim == 2 else samples, lengths)
        return self.body(*self._features(samples, lengths, augment))

    def frames(
        self, samples: Tensor, lengths: Tensor | None = None, augment: Augment | None = None
    ) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Head → what it reads: as ``forward`` of its ``exit``, for all heads in one pass over the layers."""
        if not any(self.taps.values()):
            return dict.fromkeys(self.taps, self(samples, lengths, augment))
        layers = {name: layer or self.encoder.layer_names[-1] for name, layer in self.taps.items()}
        x, lengths = self._features(samples, lengths, augment)
        tapped = self.encoder.tapped(x, lengths, set(layers.values()))
        return {name: tapped[layer] for name, layer in layers.items()}

    def _features(
        self, samples: Tensor, lengths: Tensor | None, augment: Augment | None
    ) -> tuple[Tensor, Tensor | None]:
        x, lengths = self.features(samples[..., None] if samples.ndim == 2 else samples, lengths)
        return (augment(x, lengths) if augment else x), lengths

    def head(self, name: str | None = None) -> nn.Module:
        """The head of this name, or the first one."""
        return self.heads[name] if name else next(iter(self.heads.values()))

    def search(
        self,
        head: str | None = None,
        config: SearchConfig = GREEDY,
        automata: Sequence[Automaton] = (),
        columns: int = 0,
        words: Words | None = None,
        fusion: Fusion | None = None,
    ) -> Search:
        """The search of this head (the first one unless named), over this model's output.

        With ``columns`` the streams of a beam may bring up to so many automata of their own (``search.add``). With ``words`` it
        says those alone; a language model steers it by ``fusion``.

        Raises ConfigError where the head or the model does not offer what ``config`` asks for.
        """
        name = head or next(iter(self.heads))
        if layer := self.taps[name]:
            raise ConfigError(f"heads.{name}: reads {layer}, not the model's end: model.exit({name!r}) has its search")
        search = self.heads[name].search(config, automata, columns, words, fusion)
        if config.max_symbols not in (None, getattr(search, "max_symbols", 1)):
            raise ConfigError(f"search.max_symbols: head {name!r} emits one symbol a frame at most; leave it out")
        if config.skip_blank is None:
            return search
        beside = [self.heads[other] for other, layer in self.taps.items() if layer is None]
        ctc = next((other for other in beside if isinstance(other, CtcHead)), None)
        if ctc is None or isinstance(self.heads[name], CtcHead):
            raise ConfigError(
                "search.skip_blank: needs a transducer beside a ctc head, both at one layer, which this model, or this head, "
                "is not"
            )
        return BlankSkip(search, ctc, config.skip_blank)


def _layer(encoder: StreamingModule, config: ModelConfig, head: str, at: str | None) -> str | None:
    """The layer that a head reads, None where that is the encoder's last. Raises ConfigError for one that is not there."""
    if at is None:
        return None
    if not isinstance(encoder, Stack):
        raise ConfigError(
            f"heads.{head}.at: encoder {config.encoder.kind} is no Stack of named layers, so only its end can be read; leave "
            "it out"
        )
    if at not in encoder.layer_names:
        raise ConfigError(f"heads.{head}.at: no layer {at!r}; this encoder has {', '.join(encoder.layer_names)}")
    return None if at == encoder.layer_names[-1] else at


def parameter_count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
