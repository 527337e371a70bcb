"""``AsrModel``: features, encoder and heads, from samples to the frames that heads and searches read."""

from collections.abc import Callable, Sequence
from weakref import WeakSet

from torch import Tensor, nn

from audiorec.audio.features import FEATURES
from audiorec.config import Config
from audiorec.encoders import ManyLatencies, build
from audiorec.encoders.attention import share
from audiorec.errors import ConfigError, UserError
from audiorec.models.config import ModelConfig
from audiorec.models.heads import HEADS
from audiorec.search import GREEDY, Automaton, BlankSkip, Search, SearchConfig
from audiorec.streaming import Sequential

_VIEWS: WeakSet[nn.Module] = WeakSet()


class AsrModel(Sequential):
    """A chain from samples (B, T, 1), float32 in [−1, 1] at ``sample_rate``, to encoder frames (B, T', dim).

    It is a StreamingModule like any other: ``model(samples, lengths)`` for whole utterances, ``model.step`` for pieces.
    ``heads`` read its output; each has ``losses`` and a ``search``.
    """

    def __init__(self, config: ModelConfig, vocabulary: int):
        features = FEATURES.build(config.features)
        encoder = build(config.encoder, features.output_dim)
        super().__init__(features=features, encoder=encoder)
        heads = {kind: HEADS.build(head, encoder.output_dim, vocabulary) for kind, head in config.heads.items()}
        self.heads = nn.ModuleDict(heads)
        self.sample_rate = features.sample_rate

    @property
    def frame_seconds(self) -> float:
        """Seconds of audio that one output frame covers."""
        return self.stride / self.sample_rate

    @property
    def latency_ms(self) -> float:
        """Milliseconds from the start of an output frame until it can be computed: features and subsampling included.

        Infinite for a model that sees the whole utterance.
        """
        return 1000 * (self.lookahead + 1) / self.sample_rate

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

    def forward(
        self,
        samples: Tensor,
        lengths: Tensor | None = None,
        augment: Callable[[Tensor, Tensor | None], Tensor] | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """samples (B, T) or (B, T, 1), lengths (B,), None where all are of T samples → encoder frames (B, ceil(T / stride),
        dim) and their lengths, or None.

        ``augment`` takes the features (B, T', bins) and their lengths, and returns what the encoder gets in their place.
        """
        samples = samples[..., None] if samples.ndim == 2 else samples
        if augment is None:
            return super().forward(samples, lengths)
        features, lengths = self.features(samples, lengths)
        return self.encoder(augment(features, lengths), lengths)

    def head(self, kind: str | None = None) -> nn.Module:
        """The head of this kind, or the first one."""
        return self.heads[kind] if kind else next(iter(self.heads.values()))

    def search(
        self, kind: str | None = None, config: SearchConfig = GREEDY, automata: Sequence[Automaton] = ()
    ) -> Search:
        """The search of this head (the first one unless named), over this model's output.

        Raises ConfigError where the head or the model does not offer what ``config`` asks for.
        """
        head = self.head(kind)
        search = head.search(config, automata)
        if config.skip_blank is None:
            return search
        if "ctc" not in self.heads or head is self.heads["ctc"]:
            raise ConfigError(
                "search.skip_blank: needs a transducer beside a ctc head, which this model, or this head, is not"
            )
        return BlankSkip(search, self.heads["ctc"], config.skip_blank)


def parameter_count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
