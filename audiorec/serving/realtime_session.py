"""What a client of OpenAI's Realtime interface may set of its session, of which we use a part."""

from typing import Any, Literal

from pydantic import Field

from audiorec.config import Config, parse
from audiorec.errors import UserError
from audiorec.serving.refusal import Refused


class Open(Config, extra="ignore"):
    """Clients set more than is for us."""


class Format(Open):
    type: Literal["audio/pcm", "audio/pcmu", "audio/pcma"] = "audio/pcm"
    rate: int | None = Field(None, ge=8000, le=96000)

    @property
    def sample_rate(self) -> int:
        return self.rate or (24000 if self.type == "audio/pcm" else 8000)

    @property
    def encoding(self) -> str:
        return {"audio/pcm": "int16", "audio/pcmu": "mulaw", "audio/pcma": "alaw"}[self.type]


class Transcription(Open):
    model: str | None = None
    language: str | None = None
    keywords: tuple[str, ...] | None = None


class TurnDetection(Open):
    type: Literal["server_vad", "semantic_vad"] = "server_vad"
    silence_duration_ms: float | None = Field(None, ge=10, le=60_000)


class Input(Open):
    format: Format | None = Format()
    transcription: Transcription | None = Transcription()
    turn_detection: TurnDetection | None = TurnDetection()


class Audio(Open):
    input: Input = Input()


class Session(Open):
    type: Literal["transcription"] = "transcription"
    audio: Audio = Audio()
    include: tuple[str, ...] | None = None

    @property
    def format(self) -> Format:
        return self.audio.input.format or Format()

    @property
    def transcription(self) -> Transcription:
        return self.audio.input.transcription or Transcription()

    @property
    def by_turns(self) -> bool:
        """Whether the server commits at the end of a turn."""
        return self.audio.input.turn_detection is not None

    @property
    def silence(self) -> float | None:
        """Seconds of silence that end a turn; None: as the server has it."""
        turns = self.audio.input.turn_detection
        return None if turns is None or turns.silence_duration_ms is None else turns.silence_duration_ms / 1000

    def updated(self, change: Any) -> "Session":
        """With a change: what it does not name stays, null clears. Raises Refused."""
        if not isinstance(change, dict):
            raise Refused("bad_request", "session: must be an object")
        try:
            return parse(Session, _merged(self.model_dump(mode="json"), change), prefix="session")
        except UserError as error:
            raise Refused("bad_request", str(error)) from None


def _merged(old: dict[str, Any], new: dict[str, Any], depth: int = 0) -> dict[str, Any]:
    both = {**old, **new}
    for key in old.keys() & new.keys():
        if isinstance(old[key], dict) and isinstance(new[key], dict) and depth < 8:
            both[key] = _merged(old[key], new[key], depth + 1)
    return both
