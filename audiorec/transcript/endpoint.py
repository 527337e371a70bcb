"""Where a segment of speech ends: three rules, decided at a frame of the model, so that any pieces give the same segments."""

from collections.abc import Mapping, Sequence
from math import ceil, inf
from typing import Any, NamedTuple

from pydantic import Field

from audiorec.audio.levels import Levels
from audiorec.config import Config, parse
from audiorec.transcript.hypothesis import Hypothesis
from audiorec.transcript.reading import beginnings


class EndpointConfig(Config):
    """The three rules of sherpa-onnx; silence is a stretch without tokens."""

    silence: float = Field(2.4, gt=0, description="seconds of silence that end a segment, whatever was said before")
    silence_after_words: float = Field(1.2, gt=0, description="seconds of silence after words, if they are quiet too")
    longest: float = Field(20.0, gt=0, description="seconds after which a segment ends before its next word")
    quiet_db: float = Field(20.0, ge=0, description="dB below the segment's loudest 10 ms, where audio is quiet")


ENDPOINT = EndpointConfig()
Endpoint = EndpointConfig | Mapping[str, Any] | None  # the rules, or their keys; None: no segments


def parse_endpoint(endpoint: Endpoint) -> EndpointConfig | None:
    """The rules. Raises ConfigError naming the key that is wrong."""
    return None if endpoint is None else parse(EndpointConfig, endpoint, prefix="endpoint")


class Part(NamedTuple):
    """Tokens of one segment, and the number of frames of the stream after which it ended; None where it goes on."""

    tokens: Hypothesis
    end: int | None = None


class Endpointer:
    """Splits the tokens of one stream into segments. ``config`` None: the stream is one segment.

    ``frame_seconds`` is the length of the model's frames, ``levels`` those of the stream's audio, ``begins_word`` tells of each
    token whether a word begins with it. Whoever searches the stream's frames searches up to ``earliest``, tells what was
    committed by ``hear``, and asks there whether the segment ``ends``; so all is decided at frames, however many come at once.
    """

    def __init__(
        self, config: EndpointConfig | None, frame_seconds: float, levels: Levels, begins_word: Sequence[bool]
    ):
        self.frames = 0  # that were searched
        self._levels = levels
        self._levels_per_frame = frame_seconds / levels.frame_seconds
        self._begins_word = begins_word
        self._quiet_db = 0.0 if config is None else config.quiet_db
        seconds = (inf, inf, inf) if config is None else (config.silence, config.silence_after_words, config.longest)
        self._silence, self._silence_after_words, self._longest = (
            x if x == inf else max(1, ceil(x / frame_seconds - 1e-6)) for x in seconds
        )
        self._start = 0  # the segment's first frame
        self._heard = 0  # the frame after that of the last token; of an earlier segment too
        self._spoken = False  # whether the segment has a token
        self._inside = False  # whether the last token is one inside a word
        self._loud_until: float = 0  # no frame before this one ends a segment that has words: it would not be quiet

    def earliest(self, revises: bool) -> float:
        """The number of frames after which the segment may end at the earliest, whatever tokens come.

        ``revises``: the search may hold tokens that are not committed, so even a segment without one may have words.
        """
        silent = max(self._heard, self._start)
        # A token of the next frame, too, may be the last one before a silence.
        end = min(silent + self._silence, self.frames + 1 + self._silence_after_words)
        if self._spoken or revises:
            end = min(end, max(silent + self._silence_after_words, self._loud_until))
        return max(end, self.frames + 1)

    def hear(self, tokens: Hypothesis, frames: int) -> list[Part]:
        """``frames`` more were searched, and these tokens committed: the parts of segments that they are, the last one open.

        A segment that is too long ends before the first word whose token comes after that.
        """
        self.frames += frames
        parts, first = [], 0
        begins = beginnings(tokens, self._begins_word, self._inside)
        for i, (begun, frame) in enumerate(zip(begins, tokens.frames, strict=True)):
            if self._spoken and begun and frame - self._start >= self._longest:
                parts.append(Part(tokens[first:i], frame))
                first = i
                self._begin(frame)
            self._spoken, self._heard = True, frame + 1
        if tokens.words:
            self._inside = tokens.words[-1] is None
        if first < len(tokens.ids):
            parts.append(Part(tokens[first:] if first else tokens))
        return parts

    def ends(self, last: int | None = None) -> bool:
        """Whether the segment ends by silence here; ``last`` is the frame of the best hypothesis's last token if it is not
        committed yet."""
        heard = self._heard if last is None else max(self._heard, last + 1)
        silent = self.frames - max(heard, self._start)
        if silent >= self._silence:
            return True
        spoken = self._spoken or last is not None
        return spoken and silent >= self._silence_after_words and self._is_quiet()

    def end(self, tokens: Hypothesis) -> list[Part]:
        """The segment ends here, with these tokens, which are committed by that."""
        *parts, rest = self.hear(tokens, 0) or [Part(tokens)]
        self._inside = False
        self._begin(self.frames)
        return [*parts, Part(rest.tokens, self.frames)]

    def _begin(self, frame: int) -> None:
        self._start, self._spoken, self._loud_until = frame, False, 0

    def _is_quiet(self) -> bool:
        first, end = (int(frame * self._levels_per_frame + 1e-6) for frame in (self._start, self.frames))
        loud = self._levels.last_above(self._levels.peak(first, end) - self._quiet_db, first, end)
        self._loud_until = int(loud / self._levels_per_frame) + 1 + self._silence_after_words
        return self.frames >= self._loud_until
